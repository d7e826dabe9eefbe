from __future__ import annotations

import torch
from torch import nn

from layerlink.measure.layers import describe_value, list_layers


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
