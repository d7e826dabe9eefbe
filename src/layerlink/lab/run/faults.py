"""Faulty steps: where a loss becomes NaN or infinite, its step is kept in the folder of the run, to be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.errors import LayerlinkError
from layerlink.files.whole import write_whole
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learner import Learner, NotFiniteError


@dataclass(frozen=True)
class Fault:
    """A step whose loss became NaN or infinite.

    Args:
        place: its epoch and step, from 0.
        text: what the run said.
        state: the learner's before it, as ``Learner.unchecked_state`` gives it; None where it is to be had from the
            last checkpoint alone, by repeating the steps since.
        batch: its images (N, C, H, W), labels, indices, and the images in other sizes; None without ``state``.
    """

    place: tuple[int, int]
    text: str
    state: Mapping[str, Any] | None = None
    batch: Batch | None = None


def kept_fault(run: RunFolder, learner: Learner, error: NotFiniteError, now: tuple[int, int]) -> NotFiniteError:
    """Keep the step that failed; the error, with how to look at it.

    Args:
        run: the folder of the learner's run.
        learner: that failed.
        error: why.
        now: the epoch and step, from 0, at which that was seen; the fault itself may lie before it.
    """
    if not here().first:
        return error
    place = error.place or now
    fault: dict[str, Any] = {"version": 1, "place": place, "text": str(error), "state": None, "batch": None}
    try:
        if learner.before.place == place and error.place is not None and not learner.peers:
            fault["state"] = learner.before.put_into(learner.unchecked_state())
            # Made again: a student may work in place on what it gets.
            batch = next(learner.setup.batches.epoch(*place))
            fault["batch"] = {name: getattr(batch, name) for name in ("images", "labels", "indices")}
            fault["batch"]["sizes"] = dict(batch.sizes)
        write_whole(run.fault, lambda temporary: torch.save(fault, temporary))
    except LayerlinkError as failed:  # such as a full disk: the error itself is what counts
        return NotFiniteError(f"{error}. The step could not be kept: {failed}", error.place)
    return NotFiniteError(f"{error}. Whose values overflowed first: layerlink replay {run.path}", error.place)


def read_fault(run: RunFolder, device: torch.device) -> Fault | None:
    """The fault that a run's folder keeps; None where there is none.

    Args:
        run: the folder.
        device: where the batch is to be.

    Raises:
        LayerlinkError: where its file is damaged.
    """
    if not run.fault.exists():
        return None
    known = run.read_checkpoint(run.fault)
    try:
        epoch, step = (int(it) for it in known["place"])
        state = known["state"]
        if state is not None and not isinstance(state, dict):
            raise TypeError(f"state must hold fields; got {type(state).__name__}")
        batch = None if known["batch"] is None else _batch(known["batch"], epoch, step, device)
        return Fault((epoch, step), str(known["text"]), state, batch)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LayerlinkError(f"{run.fault} is damaged ({type(error).__name__}: {error})") from None


def _batch(known: Mapping[str, Any], epoch: int, step: int, device: torch.device) -> Batch:
    def there(value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            raise TypeError(f"a batch holds tensors; got {type(value).__name__}")
        return value.to(device)

    images, labels, indices = (there(known[name]) for name in ("images", "labels", "indices"))
    sizes = {int(size): there(value) for size, value in known["sizes"].items()}
    return Batch(images, labels, indices, epoch, step, sizes=sizes)
