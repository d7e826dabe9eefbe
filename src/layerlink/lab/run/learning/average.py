"""Exponentially averaged weights that are updated without waiting for the device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Average(AveragedModel):
    """The average of a model's weights and buffers: ``average = decay * average + (1 - decay) * model``.

    It begins as the model is after the first update. Parts, names and values are those of torch's ``AveragedModel``,
    which asks the device at every update whether it is the first one.

    Args:
        model: to be averaged.
        decay: of a step, 0 < decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay
        self._has_begun = False

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Let the average follow the model by a step."""
        own = [it.detach() for it in _values(self.module)]
        new = [it.detach().to(value.device) for it, value in zip(_values(model), own, strict=True)]
        groups: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for average, value in zip(own, new, strict=True):
            if not self._has_begun:
                average.copy_(value)
            elif average.is_floating_point() or average.is_complex():
                groups[average.device, average.dtype].append((average, value))
            else:
                average.copy_(average * self.decay + value * (1 - self.decay))
        for pairs in groups.values():
            averages, values = zip(*pairs, strict=True)
            torch._foreach_lerp_(averages, values, 1 - self.decay)
        self._has_begun = True
        self.n_averaged += 1

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Go on from a state of either kind."""
        answer = super().load_state_dict(state_dict, strict, assign)
        self._has_begun = bool(self.n_averaged > 0)
        return answer


def _values(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
