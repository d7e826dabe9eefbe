"""Models by name: what no machine could hold is told before it is tried."""

from __future__ import annotations

import sys
from pathlib import Path

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


def test_a_model_of_timm_by_its_name_alone_is_answered_with_how_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of that name stands for it: the sentence is ours."""
    (tmp_path / "timm.py").write_text("def create_model(model_name): ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(UsageError, match=r"timm:create_model with arguments: \{model_name: resnet18\}"):
        build_model("timm:resnet18")
    monkeypatch.delitem(sys.modules, "timm", raising=False)
