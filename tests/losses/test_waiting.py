"""A loss and its gradient make the host wait for nothing on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loss_cases import CASES, LossCase
from waiting import Waits


def waits(case: LossCase, *, masked: bool) -> Waits:
    """What its second step waits for."""
    loss, (student, teacher) = case.build(torch.float32), case.pair(5, torch.float32)
    mask = torch.ones(5, *case.masked, dtype=torch.bool) if masked and case.masked is not None else None
    if mask is not None:
        mask[0] = False
    context = case.context(5, mask)
    for needed in context.values():
        if isinstance(needed, nn.Module):
            needed.float()
    for side in student if isinstance(student, tuple) else (student,):
        side.requires_grad_()
    options: dict[str, Any] = {} if isinstance(loss, nn.Module) else dict(case.options)

    def step() -> None:
        value: Tensor = loss(student, teacher, **context, **options)
        value.backward()  # type: ignore[no-untyped-call]

    step()
    with Waits() as seen:
        step()
    return seen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_loss_reads_no_value(case: LossCase) -> None:
    for masked in (False, True)[: 1 + (case.masked is not None)]:
        seen = waits(case, masked=masked)
        assert not seen.total, seen.places
