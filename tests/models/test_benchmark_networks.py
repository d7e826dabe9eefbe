"""The networks of the usual CIFAR-100 comparison: as many parameters as published, every stage can be tapped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.models import MODELS, build_model
from layerlink.models.shufflenet import shuffled
from layerlink.transfer import Recorder, Tap

# Of 100 classes; counted in the benchmark's code (Tian et al. 2020, arXiv 1910.10699).
PARAMETERS = {
    "vgg8": 3_965_028,
    "vgg13": 9_462_180,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
    "mobilenet_v2": 812_836,
    "shufflenet_v1": 949_258,
    "shufflenet_v2": 1_355_528,
}
# The benchmark's other ResNets have convolutions as shortcuts.
WITH_CONVOLUTIONS = {"resnet20": 278_324, "resnet32": 472_756, "resnet56": 861_620, "resnet110": 1_736_564}

_X4 = {"layer1": (64, 32), "layer2": (128, 16), "layer3": (256, 8), "pool": (256, 1)}
_VGG = {
    "group1": (64, 32),
    "group2": (128, 16),
    "group3": (256, 8),
    "group4": (512, 4),
    "group5": (512, 4),
    "pool": (512, 1),
}
STAGES: dict[str, dict[str, tuple[int, int]]] = {
    "vgg8": _VGG,
    "vgg13": _VGG,
    "resnet8x4": _X4,
    "resnet32x4": _X4,
    **{
        f"wrn_{depth}_{k}": {"layer1": (16 * k, 32), "layer2": (32 * k, 16), "layer3": (64 * k, 8), "pool": (64 * k, 1)}
        for depth in (16, 40)
        for k in (1, 2)
    },
    "mobilenet_v2": {
        "layer1": (12, 16),
        "layer2": (16, 8),
        "layer3": (48, 4),
        "layer4": (160, 2),
        "last": (1280, 2),
        "pool": (1280, 1),
    },
    "shufflenet_v1": {"layer1": (240, 16), "layer2": (480, 8), "layer3": (960, 4), "pool": (960, 1)},
    "shufflenet_v2": {
        "layer1": (116, 16),
        "layer2": (232, 8),
        "layer3": (464, 4),
        "last": (1024, 4),
        "pool": (1024, 1),
    },
}
every = pytest.mark.parametrize("name", PARAMETERS)


def head_of(name: str) -> str:
    return "output" if name.startswith("vgg") else "linear"


def preacts_of(name: str) -> dict[str, str]:
    """Where a stage is read before its ReLU, by the stage."""
    stages = [stage for stage in STAGES[name] if stage not in ("pool", "last")]
    return {} if name == "mobilenet_v2" else {stage: f"preact{stage[-1]}" for stage in stages}


def record(model: nn.Module, images: Tensor, *taps: str) -> dict[str, Tensor]:
    values = Recorder(model, "model").record(images, [Tap.parse(tap) for tap in taps]).values
    return {tap: values[Tap.parse(tap)].detach() for tap in taps}


@every
def test_parameters_are_as_published(name: str) -> None:
    model = build_model(name, num_classes=100)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert f"{PARAMETERS[name]:,} parameters of 100 classes." in (MODELS[name].__doc__ or "").splitlines()[0]


@pytest.mark.parametrize("name", WITH_CONVOLUTIONS)
def test_resnets_with_convolutions_as_shortcuts_too(name: str) -> None:
    model = build_model(name, num_classes=100, shortcut="conv")
    assert sum(parameter.numel() for parameter in model.parameters()) == WITH_CONVOLUTIONS[name]


@every
def test_every_stage_can_be_tapped_and_has_the_benchmarks_shape(name: str) -> None:
    head = head_of(name)
    model = build_model(name, num_classes=100).eval()
    seen = record(model, torch.randn(2, 3, 32, 32), *STAGES[name], *preacts_of(name).values(), f"{head}@input", head)
    for stage, (channels, side) in STAGES[name].items():
        assert seen[stage].shape == (2, channels, side, side)
    for stage, preact in preacts_of(name).items():
        assert seen[preact].shape == seen[stage].shape
    assert torch.equal(seen[f"{head}@input"], seen["pool"].flatten(1))
    assert seen[head].shape == (2, 100)


@every
def test_what_is_read_before_a_relu_is_what_it_gets(name: str) -> None:
    model = build_model(name, num_classes=10)  # in training: normalised over the batch
    taps = {**preacts_of(name)}
    seen = record(model, torch.randn(4, 3, 32, 32), *taps, *taps.values())
    for stage, preact in taps.items():
        assert float(seen[preact].min()) < 0
        if not name.startswith("wrn"):
            assert torch.equal(F.relu(seen[preact]), seen[stage])
        else:  # which puts the normalisation that follows between the two
            moved = seen[stage].transpose(0, 1).flatten(1)
            own = (moved - moved.mean(1, keepdim=True)) / (moved.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
            assert torch.allclose(seen[preact].transpose(0, 1).flatten(1), own, atol=1e-4)
    if name == "mobilenet_v2":  # whose layers end in no ReLU
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            assert float(record(model, torch.randn(4, 3, 32, 32), stage)[stage].min()) < 0


@every
@pytest.mark.parametrize(
    "arguments", [{}, {"channels": 1, "image_size": 64}, {"width": 0.25, "image_size": 16}], ids=str
)
def test_logits_of_any_batch_size_channels_and_width(name: str, arguments: dict[str, Any]) -> None:
    model = build_model(name, num_classes=7, **arguments)
    side = arguments.get("image_size", 32)
    images = torch.randn(3, arguments.get("channels", 3), side, side)
    assert model(images).shape == (3, 7)
    model.eval()
    alone = torch.cat([model(image[None]) for image in images])  # batches of one
    assert torch.allclose(alone, model(images), atol=1e-4)


@every
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=10, width=0.5)
    F.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert bool(parameter.grad.isfinite().all()), path
        # A bias before batch normalisation is taken away again; rounding is what is left of its gradient.
        assert bool(parameter.grad.any()) or path.endswith("conv.bias"), path


@every
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    images, models = torch.randn(2, 3, 32, 32), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        models.append(build_model(name, num_classes=10))
    first, second, other = (model(images) for model in models)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    for one, two in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(one, two)


@every
def test_maps_may_lie_in_memory_either_way(name: str) -> None:
    model = build_model(name, num_classes=10, width=0.5).eval()
    images = torch.randn(2, 3, 32, 32)
    expected = model(images)
    model.to(memory_format=torch.channels_last)
    assert torch.allclose(model(images.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "least"),
    [("vgg8", 8), ("resnet8x4", 4), ("wrn_16_1", 4), ("mobilenet_v2", 16), ("shufflenet_v1", 8), ("shufflenet_v2", 8)],
)
def test_the_smallest_image_runs_and_impossible_arguments_are_told(name: str, least: int) -> None:
    model = build_model(name, image_size=least, width=0.05).eval()
    assert model(torch.zeros(1, 3, least, least)).shape == (1, 10)
    for wrong in ({"image_size": least - 1}, {"num_classes": 0}, {"channels": 0}, {"width": 0}):
        with pytest.raises(UsageError, match=f"image_size >= {least} and width > 0; got"):
            build_model(name, **wrong)


def test_a_shortcut_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match="shortcut must be pad or conv; got 'none'"):
        build_model("resnet20", shortcut="none")


@pytest.mark.parametrize("name", ["vgg13", "resnet8x4", "wrn_16_2", "mobilenet_v2"])
def test_first_weights_go_by_a_units_outputs(name: str) -> None:
    torch.manual_seed(0)
    for module in build_model(name).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)


def test_a_shuffle_takes_the_first_of_every_group_then_the_second() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffled(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffled(x, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_a_unit_of_shufflenet_v2_leaves_half_of_its_channels_as_they_are() -> None:
    unit = build_model("shufflenet_v2").layer1[1].eval()
    x = torch.rand(2, 116, 4, 4)
    y = unit(x)
    assert torch.equal(y[:, ::2], x[:, :58])
    assert not torch.equal(y[:, 1::2], x[:, 58:])


def test_a_halving_unit_of_shufflenet_keeps_its_pooled_input_beside() -> None:
    unit = build_model("shufflenet_v1").layer2[0].eval()
    x = torch.rand(2, 240, 8, 8)
    assert torch.equal(unit(x)[:, 240:], F.avg_pool2d(x, 3, 2, padding=1))


def test_depths_are_the_names() -> None:
    def weighted(name: str) -> int:
        model = build_model(name)
        kernels = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] > 1]
        return len(kernels) + 1  # shortcuts are 1x1

    assert {name: weighted(name) for name in ("resnet8x4", "resnet32x4")} == {"resnet8x4": 8, "resnet32x4": 32}
    assert [weighted(f"wrn_{depth}_1") for depth in (16, 40)] == [14, 38]  # two of the name are shortcuts
