"""An optimiser's step that copies nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from layerlink.lab.recipe.optimizers import OPTIMIZERS
from layerlink.lab.run.learning.update import SMALLEST_REORDERED, Update

ARGUMENTS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adam": {"amsgrad": True},
    "adamw": {},
    "adagrad": {},
}


class Copies(TorchDispatchMode):
    """How many elements were copied."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("copy_", "clone", "_to_copy"):
            self.elements += args[0].numel()
        return func(*args, **(kwargs or {}))


def net() -> nn.Module:
    """Channels last: large, of odd sizes, and small."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(61, 67, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(3, 8, 3), nn.Linear(300, 200))
    assert [layer.weight.numel() >= SMALLEST_REORDERED for layer in layers] == [True, True, False, True]
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def optimizer(name: str, model: nn.Module, fused: bool) -> torch.optim.Optimizer:
    return OPTIMIZERS[name](model.parameters(), lr=0.1, fused=fused, **ARGUMENTS[name])


def give_slopes(model: nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=draw))


def everything(model: nn.Module, made: torch.optim.Optimizer) -> list[Tensor]:
    state = [value for it in model.parameters() for value in made.state[it].values() if isinstance(value, Tensor)]
    return [*model.parameters(), *state]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_weights_and_state_are_torchs_to_the_bit(name: str) -> None:
    ours, torchs = net(), net()
    made, plain = optimizer(name, ours, True), optimizer(name, torchs, True)
    by_hand = net()
    unfused = optimizer(name, by_hand, False)
    update = Update(made)
    for seed in range(4):
        for model in (ours, torchs, by_hand):
            give_slopes(model, seed)
        # The third is left out.
        update.step(torch.tensor(float(seed == 2)) if seed else None)
        if seed != 2:
            plain.step()
            unfused.step()
    for own, other, definition in zip(
        *(everything(it, of) for it, of in ((ours, made), (torchs, plain), (by_hand, unfused))), strict=True
    ):
        assert own.shape == other.shape
        assert own.stride() == other.stride()
        assert torch.equal(own, other)
        torch.testing.assert_close(own, definition, rtol=1e-4, atol=1e-5)


def test_nothing_large_is_copied() -> None:
    model = net()
    update = Update(optimizer("sgd", model, True))
    for seed in range(2):
        give_slopes(model, seed)
        with Copies() as copied:
            update.step()
    assert copied.elements == 0


def test_a_large_state_in_another_order_goes_on_to_the_same_numbers() -> None:
    """torch pairs weights and state by their places in memory, and gives wrong numbers then."""
    model = net()
    made = optimizer("sgd", model, True)
    give_slopes(model, 0)
    Update(made).step()
    other = copy.deepcopy(model)
    again = optimizer("sgd", other, True)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    for parameter in (it for it in other.parameters() if it.numel() >= SMALLEST_REORDERED):
        again.state[parameter]["momentum_buffer"] = again.state[parameter]["momentum_buffer"].contiguous()
    for of, by in ((model, made), (other, again)):
        give_slopes(of, 1)
        Update(by).step()
    assert all(torch.equal(*pair) for pair in zip(everything(model, made), everything(other, again), strict=True))


def test_a_step_that_fails_leaves_weights_and_gradients_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    made = optimizer("sgd", model, True)
    give_slopes(model, 0)
    before = [(it, it.detach().clone(), it.stride(), it.grad) for it in model.parameters()]

    def step() -> None:
        assert model[0].weight.shape == (67, 3, 3, 61)  # type: ignore[index,union-attr]
        raise RuntimeError("out of memory")

    monkeypatch.setattr(made, "step", step)
    with pytest.raises(RuntimeError, match="out of memory"):
        Update(made).step()
    for parameter, weights, stride, gradient in before:
        assert torch.equal(parameter, weights)
        assert parameter.stride() == stride
        assert parameter.grad is gradient
