"""What every layer of several models took and gave in one step, in the order in which they ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Reading:
    """What one call of a layer took and gave.

    Args:
        role: whose it is, such as "student" or "teacher".
        layer: its dotted name; empty for the whole model.
        call: which of its calls in the step, from 0.
        kind: its class.
        dtype: of what it gave, such as "bfloat16"; empty where that is no floating-point tensor.
        taken: the largest absolute value of its inputs; NaN where one is NaN.
        given: the same of its outputs.
        weights: the same of its own parameters; 0 where it has none.
        images: the places in the batch of the images whose outputs are not finite; empty where that cannot be told.
    """

    role: str
    layer: str
    call: int
    kind: str
    dtype: str
    taken: float
    given: float
    weights: float
    images: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The layer as it is told: ``the student's conv1 (Conv2d)``."""
        call = f"#{self.call}" if self.call else ""
        return f"the {self.role}'s {self.layer}{call} ({self.kind})" if self.layer else f"the {self.role} ({self.kind})"


@contextmanager
def read_layers(models: Mapping[str, nn.Module], images: int) -> Iterator[list[Reading]]:
    """Read every layer of the models while they run; the list grows as they do.

    Args:
        models: by the role that they are told by.
        images: in the batch.
    """
    readings: list[Reading] = []
    handles: list[Any] = []
    try:
        for role, model in models.items():
            reader = _Reader(role, images, readings)
            for name, module in model.named_modules():
                handles += reader.hooks(name, module)
        yield readings
    finally:
        for handle in handles:
            handle.remove()


class _Reader:
    """The hooks of one model."""

    def __init__(self, role: str, images: int, readings: list[Reading]) -> None:
        self.role, self.images, self.readings = role, images, readings
        self._taken: list[float] = []  # of the calls that are not over, the outermost first
        self._calls: Counter[str] = Counter()

    def hooks(self, name: str, module: nn.Module) -> list[Any]:
        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._taken.append(largest((args, kwargs)))

        def after(module: nn.Module, _: Any, output: Any) -> None:
            values = [it for it in tree_leaves(output) if isinstance(it, Tensor) and it.is_floating_point()]
            call, taken = self._calls[name], self._taken.pop()
            self._calls[name] += 1
            dtype = str(values[0].dtype).removeprefix("torch.") if values else ""
            weights = largest(list(module.parameters(recurse=False)))
            bad = tuple(sorted({row for value in values for row in _bad_rows(value, self.images)}))
            kind = type(module).__name__
            self.readings.append(Reading(self.role, name, call, kind, dtype, taken, largest(values), weights, bad))

        return [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]


@torch.no_grad()
def largest(values: Any) -> float:
    """The largest absolute value of the floating-point tensors in a tree; NaN where one is NaN, 0 where there is none.

    >>> largest([torch.tensor([-3.0, 2.0]), {"a": torch.tensor(1)}])
    3.0
    """
    found = [it.detach() for it in tree_leaves(values) if isinstance(it, Tensor) and it.is_floating_point()]
    sizes = [float(it.abs().max()) for it in found if it.numel()]
    return next((size for size in sizes if size != size), max(sizes, default=0.0))  # NaN is not equal to itself


def _bad_rows(value: Tensor, images: int) -> list[int]:
    """The first axis' places of a batch of that many images, which may hold several views of each."""
    if value.dim() == 0 or not images or len(value) % images:
        return []
    finite = value.detach().isfinite().reshape(len(value), -1).all(1)
    return sorted({int(row) % images for row in (~finite).nonzero().flatten()})
