"""Why a layer is not linked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from layerlink.design.propose.layers import Layer, Layers
from layerlink.design.propose.plan import ALIKE
from layerlink.design.propose.proposal import LeftOut, ProposedLink
from layerlink.design.propose.reading import Reader

REDUNDANT = 0.99  # CKA with the next layer of the same model


def left_out(
    sides: tuple[Layers, Layers],
    readers: tuple[Reader, Reader],
    chosen: Sequence[ProposedLink],
    cka: tuple[Tensor, Tensor, Tensor],
) -> Iterator[LeftOut]:
    """Every layer that no link reads, with its reason.

    Args:
        sides: layers of teacher and student.
        readers: what was seen of them.
        chosen: what is linked.
        cka: of the teacher's layers with the student's, and of the layers of each with each other.
    """
    linked = {link.teacher.order for link in chosen}, {link.student.order for link in chosen}
    for place, who in enumerate(("teacher", "student")):
        for layer in sides[place].layers:
            if layer.order in linked[place]:
                continue
            if trouble := readers[place].health[layer.order].trouble:
                reason, _, detail = trouble.partition(" (")
                yield LeftOut(who, layer, reason, detail.rstrip(")"))
                continue
            values = cka[0][layer.order] if who == "teacher" else cka[0][:, layer.order]
            numbers = [value if math.isfinite(value) else -1.0 for value in values.tolist()]
            best = max(numbers)
            if best >= ALIKE:
                other = sides[1 - place].layers[numbers.index(best)]
                yield LeftOut(who, layer, "similar already, nothing to teach", f"to {other}, CKA {best:.3f}")
            else:
                yield _other(who, layer, sides[place], cka[1 + place], linked[place])


def _other(who: str, layer: Layer, side: Layers, own: Tensor, linked: set[int]) -> LeftOut:
    if layer.order + 1 < len(side.layers):
        value = float(own[layer.order, layer.order + 1])
        if value >= REDUNDANT:
            after = side.layers[layer.order + 1]
            return LeftOut(who, layer, "redundant with the next layer", f"{after}, CKA {value:.3f}")
    stage = next(stage for stage in side.stages if any(it.order == layer.order for it in stage.layers))
    if any(it.order in linked for it in stage.layers):
        return LeftOut(who, layer, "same stage as a better one")
    if not layer.size:
        return LeftOut(who, layer, "no positions: softened outputs teach the last layers")
    return LeftOut(who, layer, "the other model has no stage for it")
