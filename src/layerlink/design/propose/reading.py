"""What layers give for real batches: a Gram matrix a layer and batch, and whether there is anything in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from layerlink.design.propose.batches import examples_in
from layerlink.design.propose.layers import Layer, Layers
from layerlink.errors import UsageError
from layerlink.measure.cka import centred_gram
from layerlink.taps import Observed, trace

MEMORY = 2**29  # bytes of activations that are kept at a time; more are read in further passes
ALIVE = 0.05  # of a layer's values: with fewer that are ever active it is dead
_COLUMNS = 8192  # of features that are widened to float64 at a time
SPREAD = 1e-6  # of the mean square: with less of it between images a layer is constant


@dataclass
class Health:
    """Whether a layer has anything to say.

    Args:
        alive: the largest share of its values, of all batches, that were not 0 for some image.
        spread: the largest share of its mean square that is variance between images.
        finite: whether all values were.
    """

    alive: float = 0.0
    spread: float = 0.0
    finite: bool = True

    @property
    def trouble(self) -> str:
        """What is wrong with it, in a word or two; empty where nothing is."""
        if not self.finite:
            return "not finite"
        if self.alive < ALIVE:
            return f"dead ({100 * (1 - self.alive):.0f} % of its values are always 0)"
        return "constant (the same for all images)" if self.spread < SPREAD else ""


class Reader:
    """Reads all layers of a model, batch by batch, and keeps no features.

    Args:
        observed: the model.
        layers: what of it is read.
    """

    def __init__(self, observed: Observed, layers: Layers) -> None:
        self.observed = observed
        self.layers = layers.layers
        self.health = [Health() for _ in self.layers]

    def grams(self, inputs: Any) -> list[Tensor]:
        """The centred Gram matrix (N, N) of every layer, float64 on the CPU; nan of a layer that is not finite.

        Raises:
            UsageError: where a layer cannot be read as in the first batch.
        """
        count = examples_in(inputs)
        found: list[Tensor] = []
        for part in _parts(self.layers, count):
            given = trace(self.observed, [layer.tap for layer in part], inputs, evaluate=True)
            for layer in part:
                if layer.tap not in given.values:
                    problem = given.problems.get(layer.tap, "it was not run")
                    raise UsageError(f"{problem}. It was in the first batch: give batches that are alike")
                found.append(self._look(layer, given.values.pop(layer.tap)))
        return found

    def _look(self, layer: Layer, value: Tensor) -> Tensor:
        flat = value.detach().flatten(1)
        if flat.device.type == "mps":  # which has no float64
            flat = flat.cpu()
        health = self.health[layer.order]
        health.finite &= bool(flat.isfinite().all())
        health.alive = max(health.alive, float((flat != 0).any(dim=0).float().mean()))
        gram = centred_gram(flat).cpu()
        square = sum(float(part.double().square().sum()) for part in torch.split(flat, _COLUMNS, dim=1))
        share = float(gram.trace()) / square if square else 0.0
        health.spread = max(health.spread, share if math.isfinite(share) else 0.0)
        return gram


def _parts(layers: Sequence[Layer], count: int) -> Iterator[list[Layer]]:
    """The layers in parts whose activations fit into memory together."""
    part: list[Layer] = []
    held = 0
    for layer in layers:
        size = 4 * count * math.prod(layer.shape)
        if part and held + size > MEMORY:
            yield part
            part, held = [], 0
        part.append(layer)
        held += size
    if part:
        yield part
