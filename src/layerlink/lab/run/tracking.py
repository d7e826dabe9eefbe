"""Telling trackers of runs: a watch that passes everything on, and tells them of epochs and results beside."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerlink.config.plain_values import plain
from layerlink.config.text import load_yaml
from layerlink.errors import LayerlinkError
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import dump_recipe
from layerlink.lab.run.folder import RunFolder, is_term
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.watch import PassingOn, Watch
from layerlink.lab.track.table import STARTS
from layerlink.lab.track.tracker import TrackedRun, Tracker


@contextmanager
def tracked(watch: Watch, setups: Sequence[Setup]) -> Iterator[Watch]:
    """The watch, or where recipes name trackers one that tells those, too, until the training ends."""
    if not here().first or not any(setup.recipe.track for setup in setups):
        yield watch
        return
    tracking = Tracking(watch)
    state = "failed"
    try:
        yield tracking
        state = "finished"
    except (Interrupted, KeyboardInterrupt):
        state = "stopped"
        raise
    finally:
        tracking.close(state)


class Tracking(PassingOn):
    """Tells the trackers of every run. One that fails is told of once, and left alone from then on: the run goes on.

    Args:
        watch: is told of everything.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._runs: dict[Path, _Told] = {}

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """Begin, or go on with, the tracked run of a folder."""
        if setup.recipe.track:
            self._runs[run.path] = _Told(setup, run, epoch, self.watch)
        super().begin(setup, run, epoch)

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        """An epoch is done: its terms and scores are told."""
        if run.path in self._runs:
            self._runs[run.path].log(row)
        super().epoch(run, row)

    def done(self, run: RunFolder, result: dict[str, Any]) -> None:
        """A run is finished: its test readings are told."""
        if run.path in self._runs:
            self._runs.pop(run.path).done(result)
        super().done(run, result)

    def close(self, state: str) -> None:
        """End what is still open: of a run that was dropped while others went on, as failed."""
        for told in self._runs.values():
            told.close("failed" if state == "finished" else state)
        self._runs.clear()


class _Told:
    """The trackers of one run."""

    def __init__(self, setup: Setup, run: RunFolder, epoch: int, watch: Watch) -> None:
        self._run, self._watch, self._file = run, watch, run.path / "track.json"
        before = self._read()
        self._id = str(before.get("id") or secrets.token_hex(4))
        self._known = {str(name): str(known) for name, known in dict(before.get("known") or {}).items()}
        self._epochs = int(before.get("epochs") or 0)  # that were told
        self._trackers: dict[str, Tracker] = {}
        text = dump_recipe(setup.recipe)
        recipe = plain(load_yaml(text, "safe"))
        for name, section in setup.recipe.track.items():
            given = TrackedRun(run.path, self._id, self._known.get(name, ""), recipe, text, section, epoch)
            self._guarded(name, lambda name=name, given=given: self._start(name, given))  # type: ignore[misc]
        self._write()

    def log(self, row: Mapping[str, Any]) -> None:
        """Tell of an epoch; not again where the run was killed after it was told."""
        epoch = int(row["epoch"])
        if epoch <= self._epochs:
            return
        values = _numbers({name: it for name, it in row.items() if name != "epoch"})
        for name, tracker in list(self._trackers.items()):
            self._guarded(name, lambda it=tracker: it.log(values, epoch))  # type: ignore[misc]
        self._epochs = epoch
        self._write()

    def done(self, result: Mapping[str, Any]) -> None:
        """Tell of the result, and end."""
        values = _numbers({name: it for name, it in result.items() if name.startswith(("test_", "teacher_test_"))})
        epochs = int(result["epochs"])
        for name, tracker in list(self._trackers.items()):
            self._guarded(name, lambda it=tracker: it.done(values, epochs))  # type: ignore[misc]
        self.close("finished")

    def close(self, state: str) -> None:
        """End."""
        for name, tracker in list(self._trackers.items()):
            self._guarded(name, lambda it=tracker: it.close(state))  # type: ignore[misc]

    def _start(self, name: str, given: TrackedRun) -> None:
        self._trackers[name] = STARTS[name](given)
        self._known[name] = self._trackers[name].known

    def _guarded(self, name: str, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - whatever another tool raises, the training is worth more
            self._trackers.pop(name, None)
            why = str(error) if isinstance(error, LayerlinkError) else f"{type(error).__name__}: {error}"
            text = f"track: {name} failed and is told nothing more of {self._run.path}; the run goes on. {why}"
            self._run.warn(text)
            self._watch.warn(text, self._run)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._run.read_text(self._file))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("known") or {}, dict) else {}

    def _write(self) -> None:
        told = {"id": self._id, "known": self._known, "epochs": self._epochs}
        self._run.write_text(self._file, json.dumps(told, indent=2) + "\n")


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row; terms in a group of their own."""
    return {
        f"terms/{name}" if is_term(name) else name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
