"""From two models and a few batches to a proposal; nothing is trained, and both models stay as they were."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layerlink.design.masking import where_of
from layerlink.design.propose.batches import device_of, examples_in, few, whole_batches
from layerlink.design.propose.calls import trace_calls
from layerlink.design.propose.costs import cost_of, fits
from layerlink.design.propose.layers import Layer, Layers, layers_of
from layerlink.design.propose.plan import Pair, Plan, make_plan, same_size
from layerlink.design.propose.proposal import Proposal, ProposedLink
from layerlink.design.propose.reading import Reader
from layerlink.design.propose.reasons import left_out
from layerlink.errors import UsageError
from layerlink.measure.cka import BatchedCKA
from layerlink.taps import Observed
from layerlink.transfer import Link
from layerlink.transfer.inspection import LinkReport, inspect_observed

MOST_BATCHES = 8


def propose(
    teacher: nn.Module,
    student: nn.Module,
    batches: Any,
    *,
    links: int | None = None,
    most: int = MOST_BATCHES,
) -> Proposal:
    """Which layers to link, from a few real batches.

    Both models run in eval mode and without gradients, and are left as they were: mode, buffers, gradients, random
    state. The student need not be trained.

    Args:
        teacher: any module, trained.
        student: any module that takes the same inputs.
        batches: of at least 4 examples each, such as a ``DataLoader``: what both models take, a tensor, a tuple of
            positional or a mapping of keyword arguments; of a list, as loaders give ``[inputs, labels]``, the first,
            and so of a tuple of more than the student takes. One batch alone may be given as it is. More examples make
            similarities more certain; 256 are many.
        links: how many; by default one a stage of equal size, and where there is one such stage, as between
            transformers, one a step of the student, six at most.
        most: batches that are read.

    Returns:
        The proposal: ``links`` are texts for ``Distiller(links=...)``; printed it is a table.

    Raises:
        UsageError: where a model cannot be run on the batches, a batch has fewer than 4 examples, a model gives what is
            not finite, or no layers can be linked.

    >>> import torch
    >>> def net(width):
    ...     layers = [torch.nn.Conv2d(1, width, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten()]
    ...     return torch.nn.Sequential(*layers, torch.nn.Linear(64 * width, 3))
    >>> _ = torch.manual_seed(0)
    >>> propose(net(8), net(4), [torch.randn(16, 1, 8, 8)]).links
    ['1 : mse, scale=teacher, adapter=auto']
    """
    return look(Observed(teacher, "teacher"), Observed(student, "student"), batches, most).proposal(links)


def look(teacher: Observed, student: Observed, batches: Any, most: int = MOST_BATCHES) -> Looked:
    """Both models on the batches, once for any number of proposals; arguments as of ``propose``."""
    whole = whole_batches(batches, student.model, most)
    sides = _layers(teacher, whole[0]), _layers(student, whole[0])
    readers = Reader(teacher, sides[0]), Reader(student, sides[1])
    across, own = BatchedCKA(), (BatchedCKA(), BatchedCKA())
    for batch in whole:
        grams = readers[0].grams(batch), readers[1].grams(batch)
        across.add(*grams)
        for it, side in zip(own, grams, strict=True):
            it.add(side, side)
    _check_finite(readers)
    images = sum(map(examples_in, whole))
    return Looked(
        (teacher, student), sides, readers, across.values(), (own[0].values(), own[1].values()), whole[0], images
    )


@dataclass(frozen=True)
class Looked:
    """What the batches showed of a teacher and a student, in this order.

    Args:
        observed: the models.
        sides: their layers.
        readers: what is wrong with these, if anything.
        cka: (teacher, student), of the layers.
        own: of the layers of each model with each other.
        batch: the first batch.
        images: how many examples there were.
        noun: what these are.
    """

    observed: tuple[Observed, Observed]
    sides: tuple[Layers, Layers]
    readers: tuple[Reader, Reader]
    cka: Tensor
    own: tuple[Tensor, Tensor]
    batch: Any
    images: int
    noun: str = "examples"

    def proposal(self, links: int | None = None, *, near_output: bool = False) -> Proposal:
        """Links, tried on the batch.

        Args:
            links: how many; None as in ``propose``.
            near_output: also the end of the layers without positions, where the models have others.

        Raises:
            UsageError: where no layers can be linked.
        """
        if links is not None and links < 1:
            raise UsageError(f"links must be at least 1; got {links}")
        plan = _plan(self, links, near_output)
        chosen, refused = _chosen(plan, self)
        return Proposal(
            chosen=tuple(chosen),
            left_out=tuple(left_out(self.sides, self.readers, chosen, (self.cka, *self.own))),
            teacher_layers=self.sides[0].layers,
            student_layers=self.sides[1].layers,
            similarity=[[value if math.isfinite(value) else None for value in row] for row in self.cka.tolist()],
            inside=sum(side.inside + sum(layer.same for layer in side.layers) for side in self.sides),
            images=self.images,
            noun=self.noun,
            batch=examples_in(self.batch),
            notes=(*_notes(plan, self, links, len(chosen)), *refused),
        )

    @property
    def zoom(self) -> float:
        """The teacher's pixels a side over the student's, where both see images; else 1."""
        one, other = (it.seen(few(self.batch, 1)) for it in self.observed)
        both = isinstance(one, Tensor) and isinstance(other, Tensor) and one.ndim == other.ndim == 4
        return one.shape[-1] / other.shape[-1] if both else 1.0

    def usable(self, who: str, layer: Layer) -> bool:
        """Whether a layer of the "teacher" or "student" has anything to say."""
        return not self.readers[who == "student"].health[layer.order].trouble


def _check_finite(readers: Iterable[Reader]) -> None:
    """Raise ``UsageError`` for a model whose last layer is not finite: nothing of it can be trusted."""
    for reader in readers:
        if reader.health[-1].finite:
            continue
        first = next(layer for layer, health in zip(reader.layers, reader.health, strict=True) if not health.finite)
        raise UsageError(
            f"the {reader.observed.role}'s layer {str(first)!r} gives NaN or infinity, and so does its last one: look "
            "at its weights, and whether inputs are scaled as it was trained with"
        )


def _layers(observed: Observed, batch: Any) -> Layers:
    found = layers_of(observed.model, trace_calls(observed, few(batch)))
    if not found.layers:
        raise UsageError(
            f"the {observed.role} has no layer that can be linked: none of its modules but its output gives floating "
            "numbers (N, C, H, W), (N, L, D) or (N, C). Link outputs: @output : kd(temperature=4)"
        )
    return found


def _plan(seen: Looked, links: int | None, near_output: bool) -> Plan:
    def fitting(one: Layer, other: Layer) -> bool:
        return fits(other.shape, one.shape)

    plan = make_plan(*seen.sides, seen.cka, seen.usable, fitting, links, near_output=near_output, zoom=seen.zoom)
    if not plan.pairs and not plan.alike:
        said = " and ".join(
            f"the {one.role} has {_shapes(side)}" for one, side in zip(seen.observed, seen.sides, strict=True)
        )
        raise UsageError(
            f"no layers of the two can be linked: {said}, and no adapter brings any two together, or all are dead or "
            "constant. Let the outputs teach: soft, or @output : kd(temperature=4)"
        )
    return plan


def _shapes(side: Layers) -> str:
    kinds = {layer.kind: layer for layer in side.layers}
    said = {kind: f"{layer} ({layer.words})" if layer.size else str(layer) for kind, layer in kinds.items()}
    return ", ".join(f"{kind}s such as {example}" for kind, example in said.items())


def _made(pair: Pair, batch: Any, teacher: Observed) -> Link:
    """The link of a pair; where a sequence has a mask among its inputs, padding does not count."""
    one, other = pair
    where = where_of(batch, (examples_in(batch), *other.shape)) if other.kind == "sequence" else ""
    return Link(
        teacher=one.tap,
        student=other.tap,
        loss="mse",
        scale="teacher",
        adapter=None if one.shape == other.shape else "auto",
        where=where if teacher.view is None else "",
    )


def _chosen(plan: Plan, seen: Looked) -> tuple[list[ProposedLink], list[str]]:
    """The links that work on the batch, and a sentence for each that does not."""
    teacher, student = seen.observed
    made = [_made(pair, seen.batch, teacher) for pair in plan.pairs]
    reports = inspect_observed(teacher, student, made, few(seen.batch))
    chosen, refused = [], []
    for pair, link, report in zip(plan.pairs, made, reports, strict=True):
        if report.problems:
            refused.append(f"{link.text!r} is left out: {'; '.join(report.problems)}")
        else:
            chosen.append(_proposed(pair, link, report, seen))
    return chosen, refused


def _proposed(pair: Pair, link: Link, report: LinkReport, seen: Looked) -> ProposedLink:
    one, other = pair
    count, student = examples_in(seen.batch), seen.observed[1]
    shapes = (count, *other.shape), (count, *one.shape)
    cost = cost_of(link, *shapes, device_of(student.model), student.arithmetic, ((other.layout,), (one.layout,)))
    value = float(seen.cka[one.order, other.order])
    return ProposedLink(
        text=link.text,
        teacher=one,
        student=other,
        similar=value if math.isfinite(value) else None,
        adapter="" if link.adapter is None else report.adapter,
        parameters=report.parameters,
        milliseconds=cost.milliseconds,
        stored=cost.stored,
        role=_role(pair, seen),
    )


def _role(pair: Pair, seen: Looked) -> str:
    places = []
    for layer, side in zip(pair, seen.sides, strict=True):
        stage = next(stage for stage in side.stages if any(layer.order == it.order for it in stage.layers))
        steps = [step.order for step in stage.steps]
        places.append((steps.index(layer.order) + 1 if layer.order in steps else len(steps), len(steps)))
    if all(place == count for place, count in places):
        return f"end of {'the same' if same_size(*pair, seen.zoom) else 'a'} stage"
    (one, ones), (other, others) = places
    return f"step {one} of {ones} teaches step {other} of {others}"


def _notes(plan: Plan, seen: Looked, links: int | None, count: int) -> list[str]:
    notes = []
    if links is not None and count < links:
        notes.append(f"{links} links were asked for; there are {count} that make sense")
    outputs = [side.output for side in seen.sides]
    if None not in outputs and outputs[0] != outputs[1] and plan.pairs:
        shown = " and ".join(
            f"the {one.role} gives {('N', *(shape or ()))}".replace("'", "")
            for one, shape in zip(seen.observed, outputs, strict=True)
        )
        notes.append(f"{shown}: links of layers work all the same, softened outputs (soft) do not")
    return notes
