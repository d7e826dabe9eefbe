from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import layerlink as ll
from layerlink.errors import UsageError
from layerlink.transfer import Recorder, Tap


@pytest.mark.parametrize(("name", "count"), [("vgg16", 134_301_514), ("vgg7", 106_716_298)])
def test_parameters_at_224_and_10_classes_are_the_studys(name: str, count: int) -> None:
    with torch.device("meta"):
        model = ll.build_model(name, num_classes=10, image_size=224)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("name", ["vgg16", "vgg7"])
def test_link_names_give_the_activations_of_the_studys_table(name: str) -> None:
    model = ll.build_model(name, num_classes=10, image_size=64).eval()
    names = [f"group{index}" for index in range(1, 6)]
    values = (
        Recorder(model, name)
        .record(torch.randn(1, 3, 64, 64), [Tap(text) for text in (*names, "hidden", "output")])
        .values
    )
    shapes = [tuple(values[Tap(text)].shape[1:]) for text in (*names, "hidden", "output")]
    assert shapes == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4), (4096,), (10,)]
    for text in (*names, "hidden"):
        assert float(values[Tap(text)].detach().min()) == 0  # after the last ReLU


def test_vgg16_is_configuration_d_and_vgg7_has_a_convolution_a_group() -> None:
    channels = {
        name: [
            m.out_channels
            for m in ll.build_model(name, num_classes=10, image_size=32).modules()
            if isinstance(m, nn.Conv2d)
        ]
        for name in ("vgg16", "vgg7")
    }
    assert channels["vgg16"] == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert channels["vgg7"] == [64, 128, 256, 512, 512]


def test_initial_weights_are_he_normal_and_biases_0() -> None:
    model = ll.build_model("vgg16", num_classes=10, image_size=32)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 10_000:
            fan_in = module.weight[0].numel()
            assert float(module.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.02)
            assert not bool(module.bias.detach().any())


def test_width_and_batch_norm() -> None:
    model = ll.build_model("vgg7", num_classes=3, image_size=32, channels=1, width=0.25, batch_norm=True)
    assert [m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d)] == [16, 32, 64, 128, 128]
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Conv2d))
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_impossible_arguments_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        ll.build_model("vgg16", num_classes=1, image_size=50, channels=0, width=0)
    for part in ("num_classes must be at least 2", "multiple of 32", "channels must be", "width must be greater"):
        assert part in str(caught.value)


def test_images_of_another_size_are_named() -> None:
    model = ll.build_model("vgg7", num_classes=10, image_size=32, width=0.05)
    with pytest.raises(UsageError, match=r"takes images \(N, 3, 32, 32\); got \(1, 3, 64, 64\)"):
        model(torch.zeros(1, 3, 64, 64))


def test_names_and_arguments_that_are_not_there_are_answered() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'vgg17'. Did you mean vgg7 or vgg16 or vgg13\?"):
        ll.build_model("vgg17")
    with pytest.raises(UsageError, match=r"model 'vgg7': got an unexpected keyword argument 'widht'. It takes"):
        ll.build_model("vgg7", num_classes=10, image_size=32, widht=1)


def test_a_model_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_model_for_a_test.py").write_text(
        "from torch import nn\ndef make(width=2): return nn.Linear(width, 3)\ndef wrong(): return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert ll.build_model("own_model_for_a_test:make", width=5).in_features == 5
    assert ll.build_model("torch.nn:Linear", in_features=2, out_features=3).out_features == 3
    with pytest.raises(UsageError, match=r"unknown callable 'mak'. Did you mean make\?"):
        ll.build_model("own_model_for_a_test:mak")
    with pytest.raises(UsageError, match=r"must give a torch.nn.Module; got int"):
        ll.build_model("own_model_for_a_test:wrong")
    with pytest.raises(UsageError, match="cannot import 'no_such_module'"):
        ll.build_model("no_such_module:make")
