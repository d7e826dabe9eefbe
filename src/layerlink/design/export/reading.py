"""An exported file as a model to be used: it answers as the run did that it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data.preprocessing import Preprocessing
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
    """

    closed = "an exported file"  # its layers cannot be read

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self._call = opened.call

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The output for a batch, as the file takes it."""
        return self._call(images)


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
        preprocessing, inside = Preprocessing.of(how), how.get("inside") is True
        task = _task(facts["task"], trusted)
    except (KeyError, ValueError) as error:
        raise LayerlinkError(f"{path}: what is written in it of its classes and images is damaged: {error}") from None
    return Usable(FileModel(opened), preprocessing, tuple(classes), task, takes_pixels=inside)


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
