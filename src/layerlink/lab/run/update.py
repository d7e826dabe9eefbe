"""An optimiser's step that the device itself leaves out where something was not finite."""

from __future__ import annotations

import torch
from torch import Tensor


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
            self.optimizer.step()
        elif self._is_told:
            self.optimizer.found_inf = found  # type: ignore[attr-defined]
            try:
                self.optimizer.step()
            finally:
                del self.optimizer.found_inf  # type: ignore[attr-defined]
        elif found.device.type == "cpu" and not found:
            self.optimizer.step()
        else:
            self.step_or_back(found)

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
