"""How alike students and their teacher see the same images, layer by layer, before training and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from layerlink.data.examples import Inputs
from layerlink.files.weights import load_weights
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.reading.evaluation import views_of
from layerlink.lab.run.setup.setup import Setup
from layerlink.measure.cka import centred_gram, cka_of_grams
from layerlink.taps import OUTPUT, Observed, Tap
from layerlink.taps.modes import evaluating
from layerlink.transfer import Link

IMAGES = 512  # at most
_BATCH = 64
_MEMORY = 2**30  # bytes of features kept at a time; more pixels make fewer images
_MOST_PAIRS = 16

Pair = tuple[Tap, Tap]  # the teacher's layer, the student's


@dataclass(frozen=True)
class Similarity:
    """How alike a pair of layers is.

    Args:
        pair: such as ``"group3"`` or ``"layer3 -> group3"``.
        when: the column, such as ``"labels only, after"``.
        value: 0 to 1.
        linked: whether the recipe of that column links the pair.
    """

    pair: str
    when: str
    value: float
    linked: bool


def linked_pairs(recipes: Sequence[Recipe]) -> list[Pair]:
    """The pairs of layers that any of the recipes links, each once; of several taps a side those that stand alike."""
    links = [Link.parse(text) for recipe in recipes for text in recipe.links]
    pairs = [pair for link in links for pair in zip(link.teacher_taps, link.student_taps, strict=False)]
    return list(dict.fromkeys(pair for pair in pairs if OUTPUT not in pair))


def namesakes(teacher: nn.Module, student: nn.Module) -> list[Pair]:
    """Layers with parameters that stand under the same name at the top of both models, 16 at most."""
    own = {name for name, module in teacher.named_children() if any(True for _ in module.parameters())}
    return [
        (Tap(name), Tap(name))
        for name, module in student.named_children()
        if name in own and any(True for _ in module.parameters())
    ][:_MOST_PAIRS]


class Alikeness:
    """Compares students with one teacher, layer by layer, on the same validation images.

    Args:
        setup: of the first student, which is fresh; its validation images and views are used.
        teacher: trained, as it is read.
        linked: pairs that any of the students' recipes links; namesakes are added.
    """

    def __init__(self, setup: Setup, teacher: Observed, linked: Sequence[Pair]) -> None:
        student = setup.student
        self.pairs = list(dict.fromkeys([*namesakes(teacher.model, student.model), *linked]))
        taps = [pair[0] for pair in self.pairs], [pair[1] for pair in self.pairs]
        sizes = _bytes_an_image(teacher, taps[0], setup), _bytes_an_image(student, taps[1], setup)
        # The same images for both, as many as leave room for the features of the larger.
        self.count = max(2, min(IMAGES, len(setup.images.validation), _MEMORY // max(*sizes, 1)))
        self._taught = self._grams(teacher, taps[0], setup)

    def of_student(self, name: str, setup: Setup, run: Path) -> list[Similarity]:
        """CKA of every pair, of the student as it begins and as it ended; the trained weights stay in it.

        Args:
            name: of its row.
            setup: its own, with the student as training began.
            run: folder of its weights.
        """
        student, linked = setup.student, linked_pairs([setup.recipe])
        cells = []
        for when in ("before", "after"):
            if when == "after":
                load_weights(student.model, run)
            own = self._grams(student, [pair[1] for pair in self.pairs], setup)
            for pair in self.pairs:
                if pair[0] in self._taught and pair[1] in own:
                    value = cka_of_grams(self._taught[pair[0]], own[pair[1]])
                    if math.isfinite(value):  # a layer that is the same for all images is like nothing
                        cells.append(Similarity(pair_name(pair), f"{name}, {when}", value, pair in linked))
        return cells

    def _grams(self, observed: Observed, taps: Sequence[Tap], setup: Setup) -> dict[Tap, Tensor]:
        """The centred Gram matrix of every tap that can be read."""
        found: dict[Tap, list[Tensor]] = {}
        views = views_of(observed, setup.images.views)
        with evaluating(observed.model):
            for start in range(0, self.count, _BATCH):
                batch = views(setup.images.validation.rows(slice(start, min(start + _BATCH, self.count))))
                for tap, value in observed.read(batch, taps).values.items():
                    found.setdefault(tap, []).append(_features(value.detach(), batch).float().cpu())
        # One at a time leaves memory as soon as its Gram matrix is there.
        return {tap: centred_gram(torch.cat(found.pop(tap))) for tap in list(found)}


def _bytes_an_image(observed: Observed, taps: Sequence[Tap], setup: Setup) -> int:
    image = setup.images.seen(setup.images.validation, slice(0, 1))
    with evaluating(observed.model):
        read = observed.read(image, taps)
    return 4 * sum(value.numel() for value in read.values.values())


def _features(value: Tensor, batch: Inputs) -> Tensor:
    """One row an example. Texts of a batch are as long as its longest: theirs is the mean over their tokens."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is None or value.ndim != 3 or value.shape[:2] != mask.shape:
        return value.flatten(1)
    there = mask[..., None].to(value.dtype)
    return (value * there).sum(1) / there.sum(1)


def pair_name(pair: Pair) -> str:
    """The pair as a link writes it; one name stands for both where they are the same."""
    return str(pair[1]) if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"
