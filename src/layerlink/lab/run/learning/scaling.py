"""The factor that keeps float16 gradients from vanishing, moved without waiting for the device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

FIRST = 65536.0
GROWTH, BACKOFF = 2.0, 0.5  # what it is multiplied by after so many good steps, and after one that overflowed
GROWS_AFTER = 2000  # steps
LEAST = 2.0**-14  # below it the gradients are no numbers for another reason than the factor


class GradientScale:
    """What losses are multiplied by before the backward pass, and gradients divided by after it.

    A step whose gradients overflow is left out on the device and the factor halved; that is no fault. After 2000 steps
    in a row that did not, it is doubled.

    Args:
        device: of the weights.

    Source: Micikevicius et al. 2018 (arXiv 1710.03740), section 3.2; numbers as in ``torch.amp.GradScaler``, which asks
    the device at every step of an optimiser that is not fused.
    """

    def __init__(self, device: torch.device) -> None:
        self.factor = torch.full((), FIRST, device=device)
        self._well = torch.zeros((), dtype=torch.int32, device=device)  # steps in a row

    def unscale(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Divide gradients by the factor, and move it.

        Returns:
            1 where a gradient is no finite number, 0 where all are: float32, on the device.
        """
        groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            if parameter.grad is not None:
                groups[parameter.grad.dtype].append(parameter.grad)
        found, inverse = torch.zeros_like(self.factor), self.factor.reciprocal()
        for gradients in groups.values():
            torch._amp_foreach_non_finite_check_and_unscale_(gradients, found, inverse)
        torch._amp_update_scale_(self.factor, self._well, found, GROWTH, BACKOFF, GROWS_AFTER)
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Factor and count."""
        return {"factor": self.factor.clone(), "well": self._well.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        self.factor.copy_(state["factor"])
        self._well.copy_(state["well"])
