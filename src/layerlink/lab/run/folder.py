"""A run's folder: the one place that knows its file names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import append_line, read_text, regular
from layerlink.files.weights import STUDENT, extra_file
from layerlink.files.whole import load_tensors, write_text, write_whole
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.holding import alone_in
from layerlink.lab.run.result import check_result, why_no_result
from layerlink.printable import in_a_shell, one_line

MOST_JSON = 16_000_000  # bytes of a JSON file


def is_term(column: str) -> bool:
    """Whether a column of metrics is a raw term, and no score, time or rate: a link's text has a colon."""
    return column in ("hard", "soft") or ":" in column


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes a run's files. Every file is written whole or not at all.
    Of several processes that train together the first one writes; for the others writing does nothing.

    Args:
        path: the folder; made when first written to.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, YAML."""
        return self.path / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Versions, commit, hardware and command, JSON."""
        return self.path / "environment.json"

    @property
    def data(self) -> Path:
        """What was trained and tested on: classes, counts, checksums, normalisation, JSON."""
        return self.path / "data.json"

    @property
    def metrics(self) -> Path:
        """One row per epoch, CSV."""
        return self.path / "metrics.csv"

    @property
    def warnings(self) -> Path:
        """Everything the run warned of, text."""
        return self.path / "warnings.txt"

    @property
    def student(self) -> Path:
        """The trained student's weights, safetensors."""
        return self.path / STUDENT

    @property
    def result(self) -> Path:
        """The single test reading and what led to it, JSON."""
        return self.path / "result.json"

    def peer(self, name: str) -> Path:
        """A peer's weights of the student's best epoch, safetensors."""
        return self.path / f"peer-{name}.safetensors"

    def best(self, epoch: int, peer: str = "") -> Path:
        """Weights of an epoch that was the best so far; gone when the run is done."""
        return self.path / f"best-{epoch}{'-' if peer else ''}{peer}.safetensors"

    @property
    def checkpoint(self) -> Path:
        """Everything needed to go on; gone when the run is done."""
        return self.path / "checkpoint.pt"

    @property
    def checkpoint_before(self) -> Path:
        """The checkpoint before the last, for when that one is damaged."""
        return self.path / "checkpoint-before.pt"

    @property
    def checkpoints(self) -> list[Path]:
        """Those that are there, the last one first."""
        return [path for path in (self.checkpoint, self.checkpoint_before) if path.exists()]

    @property
    def mark(self) -> Path:
        """Who made the run, see ``ownership``, JSON."""
        return self.path / "mark.json"

    @property
    def fault(self) -> Path:
        """Which step's loss became NaN or infinite, and its batch; gone when the run is done."""
        return self.path / "fault.pt"

    @property
    def failure(self) -> Path:
        """Why the run of a sweep was given up, text."""
        return self.path / "failed.txt"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in this folder meanwhile. The operating system lifts the lock of a process
        that dies.

        Raises:
            UsageError: where another process holds the folder.
        """
        with alone_in(self.path):
            yield

    def check_empty(self) -> None:
        """Raise ``UsageError`` where the folder holds anything already."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file, and a run needs a folder. Choose another: --out FOLDER")
        if self.path.exists() and any(self.path.iterdir()):
            raise UsageError(f"{self.path} holds {self.state()} already; nothing was written. {self._advice()}")

    def start(self, recipe: str, environment: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write what a run begins with. ``check_empty`` comes before."""
        self.write_text(self.recipe, recipe)  # first: from here on the folder is known as a run's
        self.write_text(self.environment, json.dumps(dict(environment), indent=2) + "\n")
        self.write_text(self.data, json.dumps(dict(data), indent=2) + "\n")

    def state(self) -> str:
        """What the folder holds, in words."""
        if self.result.exists():
            return "a finished run"
        if self.failure.exists():
            return "a failed run"
        if self.checkpoints:
            return "an unfinished run"
        return "a run that stopped before its first checkpoint" if self.recipe.exists() else "other files"

    def _advice(self) -> str:
        if self.result.exists():
            return f"See it: layerlink evaluate {in_a_shell(self.path)}. For another run: --out FOLDER"
        if self.recipe.exists():
            return "Go on with it: --resume. For another run: --out FOLDER"
        return "Choose another folder: --out FOLDER"

    def read_text(self, path: Path, *, errors: str = "strict") -> str:
        """A text file of the folder.

        Raises:
            OSError: where it is missing, no regular file, too large, or lies elsewhere.
            UnicodeDecodeError: where it is no UTF-8.
        """
        return read_text(path, self.path, errors=errors)

    def read_failure(self) -> str:
        """Why the run was given up; where that cannot be read, what keeps it from being."""
        try:
            return self.read_text(self.failure, errors="replace").strip()
        except (OSError, LayerlinkError) as error:
            return f"why cannot be read: {error}"

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file."""
        if here().first:
            write_text(path, text)

    def write_weights(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write tensors as safetensors; a tensor under two names (tied weights) is written under both.

        What else a model's state holds, such as the counts of a tokenizer, goes into a file beside it.
        """
        if not here().first:
            return
        rest = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        if rest:
            write_whole(extra_file(path), lambda temporary: torch.save(rest, temporary))
        tensors = {name: it.detach().cpu().contiguous().clone() for name, it in state.items() if name not in rest}
        write_whole(path, lambda temporary: safetensors.torch.save_file(tensors, temporary))

    def write_checkpoint(self, state: Mapping[str, Any], keep_best: Iterable[int]) -> None:
        """Write the checkpoint; the one there was stays as the one before.

        Args:
            state: plain values and tensors.
            keep_best: the epochs whose best weights one of the two goes by; other best weights are removed.
        """
        if not here().first:
            return

        def write(temporary: Path) -> None:
            torch.save(dict(state), temporary)
            if self.checkpoint.exists():  # a kill between the two renames leaves the one before
                self.checkpoint.replace(self.checkpoint_before)

        write_whole(self.checkpoint, write)
        needed = {str(epoch) for epoch in keep_best}
        for file in self.path.glob("best-*.safetensors"):
            if file.stem.split("-")[1] not in needed:
                file.unlink()
                extra_file(file).unlink(missing_ok=True)

    def read_checkpoint(self, path: Path) -> dict[str, Any]:
        """A checkpoint, or a kept fault.

        Raises:
            LayerlinkError: where it is damaged.
        """
        try:
            state = load_tensors(regular(path, self.path))
            if not isinstance(state, dict):
                raise TypeError(f"a {type(state).__name__}")
        except Exception as error:
            raise LayerlinkError(f"{path} is damaged ({type(error).__name__})") from error
        return state

    def remove_checkpoints(self) -> None:
        """When the run is done, nothing is needed to go on."""
        if here().first:
            best = (*self.path.glob("best-*.safetensors"), *self.path.glob("best-*.extra.pt"))
            for file in (*self.checkpoints, self.fault, *best):
                file.unlink(missing_ok=True)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows; columns in order of first appearance."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text(self.metrics, text.getvalue())

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows written so far; none where there is no file.

        Raises:
            LayerlinkError: where it is damaged.
        """
        if not self.metrics.exists():
            return []
        try:
            return list(csv.DictReader(io.StringIO(self.read_text(self.metrics), newline="")))
        except (OSError, ValueError, csv.Error) as error:
            raise LayerlinkError(f"{self.metrics} is damaged ({error})") from error

    def read_environment(self) -> dict[str, Any]:
        """Versions, commit, hardware and command."""
        return self._read_json(self.environment)

    def read_data(self) -> dict[str, Any]:
        """What was trained and tested on."""
        return self._read_json(self.data)

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            value = json.loads(read_text(path, self.path, MOST_JSON))
        except (OSError, ValueError, RecursionError) as error:
            raise LayerlinkError(f"{path} is missing or damaged ({error})") from error
        if not isinstance(value, dict):
            raise LayerlinkError(f"{path} is damaged: it must hold fields; got {type(value).__name__}")
        return value

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the result: from now on the run counts as finished."""
        self.write_text(self.result, json.dumps(dict(result), indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """The result.

        Raises:
            UsageError: where the run is not finished.
            LayerlinkError: where it is damaged.
        """
        if not self.result.exists():
            raise UsageError(why_no_result(self.result))
        result = self._read_json(self.result)
        try:
            check_result(result)
        except ValueError as error:
            raise LayerlinkError(f"{self.result} is damaged: {error}") from None
        return result

    def warn(self, text: str) -> None:
        """Add a line to the warnings."""
        if here().first:
            append_line(self.warnings, one_line(text))
