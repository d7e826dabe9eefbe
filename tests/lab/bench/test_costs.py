from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from layerlink.lab.bench.costs import measure_costs
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.setup.setup import set_up
from layerlink.measure.flops import count_flops
from layerlink.measure.layers import describe_value, list_layers
from layerlink.models import build_model


def vgg_flops(groups: list[list[int]], hidden: list[int], size: int, classes: int) -> int:
    """2 * multiplications of every convolution and linear layer, by their definition."""
    total, channels = 0, 3
    for group in groups:
        for width in group:
            total += 2 * 9 * channels * width * size * size
            channels = width
        size //= 2
    units = channels * size * size
    for width in [*hidden, classes]:
        total += 2 * units * width
        units = width
    return total


@pytest.mark.parametrize(
    ("name", "groups", "hidden"),
    [
        ("vgg16", [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3], [4096, 4096]),
        ("vgg7", [[64], [128], [256], [512], [512]], [4096]),
    ],
)
def test_flops_are_the_definitions(name: str, groups: list[list[int]], hidden: list[int]) -> None:
    model = build_model(name, num_classes=10, image_size=32)
    assert count_flops(model, torch.zeros(1, 3, 32, 32)) == vgg_flops(groups, hidden, 32, 10)


def test_layers_have_shapes_calls_and_parameters() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 3), relu, nn.Linear(3, 2), relu)
    layers = {layer.path: layer for layer in list_layers(model, torch.zeros(1, 4))}
    assert layers["0"].shapes == ("(N, 3)",)
    assert layers["0"].parameters == 15
    assert layers["1"].shapes == ("(N, 3)", "(N, 2)")
    assert not any(module._forward_hooks for module in model.modules())


def test_values_that_are_no_tensor_are_described() -> None:
    value = {"a": torch.zeros(1, 2), "b": (torch.zeros(1), 3)}
    assert describe_value(value) == "{a: (N, 2), b: [(N), int]}"


def test_costs_count_weights_gradients_momentum_and_kept_activations(recipe: Callable[..., LoadedRecipe]) -> None:
    setup = set_up(recipe("training.ema=null", "training.batch_size=32", links=True))
    before = {name: value.clone() for name, value in setup.distiller.student.state_dict().items()}
    costs = measure_costs(setup)
    assert all(torch.equal(value, before[name]) for name, value in setup.distiller.student.state_dict().items())
    assert all(parameter.grad is None for parameter in setup.distiller.student.parameters())
    weights = 4 * (3 * costs.student_parameters + (costs.teacher_parameters or 0))
    kept = costs.memory_bytes - weights
    first_map = 32 * 3 * 32 * 32 * 4  # group1's output: 3 channels of 32x32, float32
    assert 2 * first_map < kept < 20 * first_map
    assert costs.steps == 3 * 8
    assert costs.seconds_per_step > 0
