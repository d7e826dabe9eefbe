"""A step whose loss is NaN or infinite: which one it was, and its batch, in the folder of the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from layerlink.errors import LayerlinkError
from layerlink.files.whole import write_whole
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.learner import Learner, NotFiniteError


@dataclass(frozen=True)
class KeptFault:
    """A step that failed. The weights before it follow from the last checkpoint and the steps since.

    Args:
        place: its epoch and step, from 0.
        text: what the run said.
        batch: its ``inputs``, ``labels`` and ``indices``, on the CPU.
    """

    place: tuple[int, int]
    text: str
    batch: Mapping[str, Any]


def keep_fault(run: RunFolder, learner: Learner, error: NotFiniteError, now: tuple[int, int]) -> NotFiniteError:
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
    try:
        # Made again: a student may work in place on what it gets.
        batch = next(learner.setup.batches.epoch(*place))
        values = {"inputs": batch.inputs, "labels": batch.labels, "indices": batch.indices}
        fault = {"version": 1, "place": place, "text": str(error), "batch": tree_map_only(Tensor, Tensor.cpu, values)}
        write_whole(run.fault, lambda temporary: torch.save(fault, temporary))
    except LayerlinkError as failed:  # such as a full disk: the error itself is what counts
        return NotFiniteError(f"{error}. The step could not be kept: {failed}", error.fault)
    replay = shlex.join(["layerlink", "replay", str(run.path)])
    return NotFiniteError(f"{error}. Whose values overflowed first: {replay}", error.fault)


def read_fault(run: RunFolder) -> KeptFault | None:
    """The fault that a run's folder keeps; None where there is none.

    Raises:
        LayerlinkError: where its file is damaged.
    """
    if not run.fault.exists():
        return None
    known = run.read_checkpoint(run.fault)
    try:
        epoch, step = (int(it) for it in known["place"])
        batch = known["batch"]
        if not isinstance(batch, dict) or not {"inputs", "labels", "indices"} <= batch.keys():
            raise TypeError("batch must hold inputs, labels and indices")
        return KeptFault((epoch, step), str(known["text"]), batch)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LayerlinkError(f"{run.fault} is damaged ({type(error).__name__}: {error})") from None
