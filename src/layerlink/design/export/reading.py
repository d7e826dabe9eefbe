"""An exported file as a model to be used: it answers as the run did that it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data.preprocessing import Preprocessing
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.design.export.folder import is_own_file
from layerlink.design.export.formats.job import Opened
from layerlink.design.export.formats.table import FORMATS
from layerlink.design.use.usable import Usable
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.run.ownership import ForeignCodeError
from layerlink.printable import one_line
from layerlink.tasks import Task
from layerlink.tasks.table import TASKS, as_task


class FileModel(nn.Module):
    """A file that is run by its own runtime; there is nothing in it to train.

    Args:
        opened: the file.
        names: of its inputs, in order, where there are several.
    """

    closed = "an exported file"  # its layers cannot be read

    def __init__(self, opened: Opened, names: Sequence[str] = ()) -> None:
        super().__init__()
        self._call, self._names = opened.call, tuple(names)

    @torch.no_grad()
    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """The output for a batch, as the file takes it: its one input, or all by their names."""
        missing = [name for name in self._names if name not in named] if named else []
        if missing:
            raise LayerlinkError(f"the file takes {', '.join(self._names)}; {', '.join(missing)} is not there")
        given = (*inputs, *(named[name] for name in self._names if named))
        found = self._call(*given)
        if len(found) != len(given[0]):  # OpenVINO computes on where sizes do not fit
            shapes = ", ".join(str(tuple(it.shape)) for it in given)
            raise LayerlinkError(
                f"the file gave {len(found)} answers for {len(given[0])} examples, inputs {shapes}: it takes no such "
                "sizes. What it takes stands in its facts: docs/export.md"
            )
        return found


def read_exported(path: Path, *, trust_code: bool = False) -> Usable:
    """A file that ``export`` wrote, with the preprocessing and the class names that lie in it.

    Args:
        path: of it.
        trust_code: whether code may be run that it could hold, or that it names, where this user did not export it.

    Raises:
        UsageError: where no format has its ending.
        ForeignCodeError: where it may hold code of somebody else.
        LayerlinkError: where it cannot be read, or no export wrote it.
    """
    known = {kind.ending: kind for kind in FORMATS.values()}
    if path.suffix not in known:
        raise UsageError(f"{path}: exported files end with {', '.join(known)}")
    trusted = trust_code or is_own_file(path)
    if known[path.suffix].may_hold_code and not trusted:
        raise ForeignCodeError(
            f"{path} could run code as it is opened, and you did not export it here, or it was changed or moved away "
            "from its export.json. Where you trust it say --trust-code"
        )
    opened = known[path.suffix].read(path)
    facts = _facts(opened.facts, path)
    try:
        how, classes = facts["preprocessing"], facts["classes"]
        if not isinstance(classes, list) or not classes or not all(isinstance(it, str) for it in classes):
            raise ValueError(f"classes must be names; got {classes!r:.60}")
        preprocessing, names = _seen(how, facts, path)
        task = _task(facts["task"], trusted)
    except (KeyError, ValueError) as error:
        raise LayerlinkError(f"{path}: what is written in it of its classes and inputs is damaged: {error}") from None
    inside = how.get("inside") is True
    return Usable(FileModel(opened, names), preprocessing, tuple(classes), task, takes_pixels=inside)


def _seen(how: Any, facts: Mapping[str, Any], path: Path) -> tuple[Preprocessing | TextPreprocessing, list[str]]:
    """What is done to images or texts, whose tokenizer lies beside the file; and the names of several inputs."""
    if not isinstance(how, Mapping) or "vocabulary" not in how:
        return Preprocessing.of(how), []
    inputs = facts["inputs"]
    names: list[Any] = [it.get("name") for it in inputs if isinstance(it, dict)] if isinstance(inputs, list) else []
    if not names or not all(isinstance(it, str) for it in names):
        raise ValueError(f"inputs must be names with dtype and shape; got {inputs!r:.60}")
    return TextPreprocessing.of({**how, "tokenizer": str(path.parent)}), names


def _facts(text: str, path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise LayerlinkError(
            f"{path} says nothing of its classes and of how it sees images: layerlink export did not write it"
        )
    return facts


def _task(said: Any, trusted: bool) -> Task:
    name, arguments = (said.get("name"), said.get("arguments")) if isinstance(said, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"task must be a name and arguments; got {said!r:.60}")
    if name not in TASKS and not trusted:
        raise ForeignCodeError(f"task {one_line(name)} would be called. Where you trust it say --trust-code")
    try:
        return as_task(name, arguments)
    except UsageError as error:
        raise ValueError(str(error)) from None
