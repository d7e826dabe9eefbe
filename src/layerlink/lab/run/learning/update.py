"""An optimiser's step that the device itself leaves out where something was not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SMALLEST_REORDERED = 1 << 15  # elements; below, copies of a tensor cost less than telling torch that none is needed


class Update:
    """Makes an optimiser's steps.

    Fused optimisers are told by a number on the device and leave weights and state alone. Of others the device puts
    back what they changed; on the CPU, where a look costs nothing, only where there is something to put back.

    Args:
        optimizer: of torch.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._is_told = bool(getattr(optimizer, "_step_supports_amp_scaling", False))

    def step(self, found: Tensor | None = None) -> None:
        """One step.

        Args:
            found: 1 where it is to be left out, 0 where not: a float32 number on the device of the weights.
        """
        if found is None:
            self._step()
        elif self._is_told:
            self.optimizer.found_inf = found  # type: ignore[attr-defined]
            try:
                self._step()
            finally:
                del self.optimizer.found_inf  # type: ignore[attr-defined]
        elif found.device.type == "cpu" and not found:
            self.optimizer.step()
        else:
            self.step_or_back(found)

    def _step(self) -> None:
        if not self._is_told:
            self.optimizer.step()
            return
        with in_order_of_memory(self.optimizer):
            self.optimizer.step()

    @torch.no_grad()
    def step_or_back(self, found: Tensor) -> None:
        """One step, after which weights and state are as before where ``found`` is 1. State begins with 0 then."""
        before = [(value, value.clone()) for value in self._tensors(found.device)]
        known = {id(value) for value, _ in before}
        self.optimizer.step()
        for value, old in before:
            torch.where(found != 0, old, value, out=value)
        for value in self._tensors(found.device):
            if id(value) not in known:
                value.masked_fill_(found != 0, 0)

    def _tensors(self, device: torch.device) -> list[Tensor]:
        """Weights and state on the device; what optimisers count on the host stays."""
        weights = [it for group in self.optimizer.param_groups for it in group["params"] if it.grad is not None]
        state = [it for of_one in self.optimizer.state.values() for it in of_one.values() if isinstance(it, Tensor)]
        return [it for it in (*weights, *state) if it.device == device]


@contextmanager
def in_order_of_memory(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Shows an optimiser large channels-last weights of the CPU, their gradients and state as (O, H, W, I).

    torch's fused steps on a CPU copy what is not contiguous in the order of its axes, weights, gradients and state, and
    back: a step takes three times as long. In the order of their memory the same tensors are contiguous, and since
    every element is updated by itself, the numbers are the same.

    Args:
        optimizer: one that updates element by element.
    """
    shown = [it for group in optimizer.param_groups for it in group["params"] if _is_copied(it)]
    kept = [(it, it.data, it.grad) for it in shown]
    for parameter, weights, gradient in kept:
        _turn_state(optimizer, parameter, _by_rows)
        _give(parameter, _by_rows(weights), _by_rows(gradient))
    try:
        yield
    finally:
        for parameter, weights, gradient in kept:
            _turn_state(optimizer, parameter, _by_channels)
            _give(parameter, weights, gradient)


def _is_copied(parameter: nn.Parameter) -> bool:
    if parameter.grad is None or parameter.ndim != 4 or parameter.numel() < SMALLEST_REORDERED:
        return False
    is_channels_last = parameter.is_contiguous(memory_format=torch.channels_last)
    return is_channels_last and not parameter.is_contiguous() and parameter.device.type == "cpu"


def _by_rows(value: Tensor) -> Tensor:
    """(O, H, W, I) of (O, I, H, W); a copy only where it was in another order, which torch would pair wrongly."""
    return value.permute(0, 2, 3, 1).contiguous()


def _by_channels(value: Tensor) -> Tensor:
    return value.permute(0, 3, 1, 2)


def _turn_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, turn: Callable[[Tensor], Tensor]) -> None:
    """What an optimiser remembers of every element; before it remembers anything, nothing."""
    state = optimizer.state.get(parameter, {})
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            state[name] = turn(value)


def _give(parameter: nn.Parameter, weights: Tensor, gradient: Tensor) -> None:
    # A gradient has to be of the weights' shape at any moment.
    parameter.grad = None
    parameter.data = weights
    parameter.grad = gradient
