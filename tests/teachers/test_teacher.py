from __future__ import annotations

import torch
from torch import Tensor, nn

from layerlink.taps import OUTPUT
from layerlink.teachers import FrozenTeacher


class Sometimes(nn.Module):
    """Doubles; in place where told to."""

    def __init__(self) -> None:
        super().__init__()
        self.inplace = False

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2) if self.inplace else x * 2


def test_a_teacher_that_changes_its_inputs_at_some_steps_only_has_a_copy() -> None:
    model = Sometimes()
    teacher = FrozenTeacher(model)
    for inplace in (False, True, False, True):
        model.inplace, x = inplace, torch.ones(1, 3)
        logits = teacher(x, [OUTPUT]).logits
        assert logits is not None
        assert logits.tolist() == [[2, 2, 2]]
        assert x.tolist() == [[1, 1, 1]]
