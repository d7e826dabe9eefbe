"""Models by name: what no machine could hold is told before it is tried."""

from __future__ import annotations

import pytest
import torch

from layerlink.errors import UsageError
from layerlink.models import build_model


@pytest.mark.parametrize("width", [1e300, 1e12, 1e5])
def test_a_model_that_no_machine_could_hold_is_told_in_a_line(width: float) -> None:
    with pytest.raises(UsageError) as caught:
        build_model("vgg7", num_classes=10, image_size=32, width=width)
    text = str(caught.value)
    assert "vgg7" in text
    assert "\n" not in text
    assert "frame" not in text
    if width == 1e5:
        assert "GB of weights; this machine has" in text


def test_looking_at_the_size_draws_no_random_numbers() -> None:
    torch.manual_seed(3)
    found = build_model("resnet8", num_classes=10, image_size=32)
    torch.manual_seed(3)
    from layerlink.models.resnet import resnet8

    expected = resnet8(num_classes=10, image_size=32)
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
