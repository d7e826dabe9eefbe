from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layerlink.errors import LayerlinkError
from layerlink.taps import OUTPUT
from layerlink.teachers import FrozenTeacher


class Sometimes(nn.Module):
    """Doubles; in place where told to."""

    def __init__(self) -> None:
        super().__init__()
        self.inplace = False

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2) if self.inplace else x * 2


def test_a_teacher_that_begins_to_change_its_inputs_is_told_once_and_gets_a_copy_from_then_on() -> None:
    model = Sometimes()
    teacher = FrozenTeacher(model)
    teacher(torch.ones(1, 3), [OUTPUT])
    model.inplace = True
    with pytest.raises(LayerlinkError) as caught:
        teacher(torch.ones(1, 3), [OUTPUT])
    assert str(caught.value) == (
        "the teacher changed its inputs in place in this pass, though in none before, and the student would see the "
        "changed ones. Load the batch again: from now on the teacher gets a copy"
    )
    for _ in range(2):
        x = torch.ones(1, 3)
        logits = teacher(x, [OUTPUT]).logits
        assert logits is not None
        assert logits.tolist() == [[2, 2, 2]]
        assert x.tolist() == [[1, 1, 1]]
