"""SimKD's student: what it has more and less than its backbone."""

from __future__ import annotations

import pytest
import torch

from layerlink.errors import UsageError
from layerlink.losses import SimKD
from layerlink.models import build_model
from layerlink.taps import Observed, Tap, trace

SIZES = {"num_classes": 10, "image_size": 32, "channels": 3}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_projector_and_classifier_count_and_the_old_classifier_does_not() -> None:
    plain, student = build_model("resnet8", **SIZES), build_model("simkd", backbone="resnet8", features=128, **SIZES)
    projector = SimKD((2, 64, 8, 8), (2, 128, 8, 8)).projector
    assert count(student) == count(plain) - (64 * 10 + 10) + count(projector) + (128 * 10 + 10)
    images = torch.randn(2, 3, 32, 32)
    assert student(images).shape == (2, 10)
    last = Tap("layer3")
    assert trace(Observed(student, "student"), [last], images).values[last].shape == (2, 128, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "layer4"}, "Did you mean layer1 or layer2 or layer3"),
        ({"classifier": "pool"}, "needs a classifier that is one nn.Linear; pool is"),
        ({"factor": 0}, "factor must be >= 1; got 0"),
        ({"backbone": "resnet21"}, "Did you mean resnet20"),
    ],
)
def test_what_it_cannot_be_made_of_is_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_model("simkd", **arguments)
