from __future__ import annotations

import pytest
import torch
from torch import nn

from layerlink import transfer
from layerlink.taps import Tap


def test_a_teacher_by_its_name_of_before_works_and_says_what_it_is_called_now() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with pytest.warns(DeprecationWarning, match=r"layerlink\.teachers\.FrozenTeacher"):
        kind = transfer.LiveTeacher
    x = torch.randn(2, 4)
    given = kind(model, [Tap("0")])(x)
    assert torch.equal(given.taps[Tap("0")], model[0](x))
    assert torch.equal(given.logits, model(x))
    assert kind(model, [Tap("0")], logits=False)(x).logits is None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = transfer.Nothing
