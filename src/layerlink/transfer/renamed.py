"""Names of before, which go on working with a warning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.teachers import FrozenTeacher


class LiveTeacher(FrozenTeacher):
    """A ``FrozenTeacher`` that is told once what is wanted of it.

    Args:
        model: as there.
        taps: what to read where a call does not say.
        logits: whether the logits are wanted, too.
        element: where in the model's output they are.
    """

    def __init__(
        self, model: nn.Module, taps: Iterable[Tap] = (), *, logits: bool = True, element: tuple[str, ...] = ()
    ) -> None:
        super().__init__(model, output="".join(f"[{key}]" for key in element))
        self._asked = (*([OUTPUT] if logits else []), *taps)

    def __call__(
        self, inputs: Any, wanted: Iterable[Tap] | None = None, *, indices: Tensor | None = None
    ) -> Activations:
        """What is wanted for ``inputs``."""
        return super().__call__(inputs, self._asked if wanted is None else wanted, indices=indices)
