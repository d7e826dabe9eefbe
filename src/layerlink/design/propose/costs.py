"""What a link costs: parameters of its adapter, time a batch, bytes of a stored teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from layerlink.adapters import AdapterError, fit
from layerlink.losses import Context
from layerlink.measure.timing import measure
from layerlink.teachers.store.manifest import bytes_of_store
from layerlink.transfer import Link
from layerlink.transfer.line_maps import Told
from layerlink.transfer.link_part import build_part

MOST_BYTES = 2**28  # of an activation that is timed; of larger ones a part of the batch


@dataclass(frozen=True)
class Cost:
    """What a link costs.

    Args:
        milliseconds: of adapter and loss, forward and backward, a batch; on this machine.
        stored: bytes an example on disk, where the teacher is stored in bfloat16.
    """

    milliseconds: float
    stored: int


def fits(student: Sequence[int], teacher: Sequence[int]) -> bool:
    """Whether an adapter brings the student's layer to the teacher's shape; both without the examples."""
    try:
        with torch.device("meta"):  # nothing is drawn or kept
            fit((2, *student), (2, *teacher))
    except AdapterError:
        return False
    return True


def cost_of(
    link: Link,
    student: tuple[int, ...],
    teacher: tuple[int, ...],
    device: torch.device,
    arithmetic: Callable[[], AbstractContextManager[Any]],
    layouts: tuple[Told, Told] = ((), ()),
) -> Cost:
    """Measure a link on random activations of the layers' shapes.

    Args:
        link: with one tap a side.
        student: shape of its layer for a batch.
        teacher: the same of the teacher.
        device: to measure on.
        arithmetic: makes the context to run in.
        layouts: what is told of its taps in the student and in the teacher.
    """
    largest = 4 * max(math.prod(student[1:]), math.prod(teacher[1:]))
    timed = max(2, min(student[0], MOST_BYTES // largest))
    with torch.random.fork_rng(), arithmetic():
        taught = torch.randn(timed, *teacher[1:], device=device)
        learned = torch.randn(timed, *student[1:], device=device, requires_grad=True)
        part = build_part(link, (learned.shape,), (taught.shape,), layouts=layouts).to(device)

        def step() -> None:
            part((learned,), (taught,), Context()).backward()

        timing = measure(step, device)
    return Cost(timing.median * student[0] / timed, bytes_of_store(1, teacher[1:], "bfloat16"))
