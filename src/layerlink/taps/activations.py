"""What a model gave for one batch, by tap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from layerlink.taps.tap import OUTPUT, Tap


class Activations:
    """The tensors that were read of a model: its output, a tap like any other, and the layers that were asked for.

    Args:
        logits: (N, C) scores, what was read at the output; None where nobody asked for them.
        taps: the tensor at every other tap.
        problems: why a tap could not be read.
        edges: where every tap stands in the autograd graph, where that was asked for.
        skipped: taps whose layers ran in earlier passes and were left out of this one.
        output: all that the model returned, for losses of the user's own; None where that is not known.
    """

    def __init__(
        self,
        logits: Tensor | None = None,
        taps: Mapping[Tap, Tensor] | None = None,
        problems: Mapping[Tap, str] | None = None,
        edges: Mapping[Tap, GradientEdge] | None = None,
        skipped: Iterable[Tap] = (),
        output: Any = None,
    ) -> None:
        self.values: dict[Tap, Tensor] = {**({} if logits is None else {OUTPUT: logits}), **(taps or {})}
        self.problems = dict(problems or {})
        self.edges = dict(edges or {})
        self.skipped = frozenset(skipped)
        self.output = output

    @property
    def logits(self) -> Tensor | None:
        """What was read at the output."""
        return self.values.get(OUTPUT)

    @property
    def taps(self) -> dict[Tap, Tensor]:
        """What was read elsewhere."""
        return {tap: value for tap, value in self.values.items() if tap != OUTPUT}

    def detached(self) -> Activations:
        """The same values without their graph: what a student gave, to teach its peer."""
        values = {tap: value.detach() for tap, value in self.values.items()}
        return Activations(None, values, self.problems, skipped=self.skipped)

    def fixed(self) -> Activations:
        """The same, to teach by: without a graph, and copies where inference mode made them, which autograd refuses."""
        inferred = not torch.is_inference_mode_enabled() and any(it.is_inference() for it in self.values.values())
        if not inferred and not any(it.requires_grad for it in self.values.values()):
            return self
        given = self.detached()
        if inferred:
            given.values = {tap: value.clone() for tap, value in given.values.items()}
        return given

    def __repr__(self) -> str:
        read = ", ".join(f"{tap}: {tuple(value.shape)}" for tap, value in self.values.items())
        return f"Activations({read or 'nothing'})"
