"""The objective: hard + soft + links, and the one place where weights are applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import Context, ShapeError
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.tasks import Classification, Task
from layerlink.tasks.classes import ClassTask
from layerlink.transfer.across import Across
from layerlink.transfer.cut import Cut
from layerlink.transfer.link import Link
from layerlink.transfer.link_list import links_error
from layerlink.transfer.link_part import LinkPart, advice, build_part
from layerlink.transfer.terms import HardTerm, LinkTerm, SoftTerm, Term
from layerlink.transfer.timed import Hard, Soft
from layerlink.transfer.weighted import Weights, weighted_sum


@dataclass(frozen=True, repr=False)
class Losses:
    """The losses of one batch. ``print`` shows the terms, each with its weight.

    Args:
        terms: the raw terms (scalars, unweighted) by name: "hard", "soft", and each link's text. A term whose layer was
            skipped in this pass is not among them.
        weights: the factor of each term. Where a link is scaled by its gradient it is read off the device when it is
            asked for.
        total: the weighted sum, to call ``backward`` on.
        logits: the student's output, such as scores (N, C); None for a student whose logits nothing asked for, or
            that were compared in pieces.
        shares: where several processes have a part of the batch each, how much a term of this part counts in the whole
            batch's, relative to the part's share of images; terms that are not named count by that share.
    """

    terms: dict[str, Tensor]
    weights: Mapping[str, float]
    total: Tensor
    logits: Tensor | None
    shares: Mapping[str, float | Tensor] = field(default_factory=dict)

    def __str__(self) -> str:
        terms = [
            f"{name.partition(' :')[0]} {float(term.detach()):.4g} * {self.weights[name]:g}"
            for name, term in self.terms.items()
        ]
        return "   ".join([*terms, f"total {float(self.total.detach()):.4g}"])

    def __repr__(self) -> str:
        return f"Losses({self})"

    def __getattr__(self, name: str) -> Any:
        # What other libraries return is the sum itself.
        hint = f"; the weighted sum is a tensor: losses.total.{name}" if hasattr(Tensor, name) else ""
        raise AttributeError(f"Losses has no {name!r}{hint}")


@dataclass(frozen=True)
class Objective:
    """What a student is taught by: ``weight * hard + alpha * soft + sum over links of beta * loss``.

    Args:
        hard: the labels' loss, or its weight, >= 0; 0 leaves it out. Or a loss of the user's own; see ``Hard``.
        soft: the softened outputs' loss, or None.
        links: the linked layers; the weighted terms are summed, not averaged, over links.
        label_smoothing: share of the target spread evenly over the classes, 0 <= s < 1.
        parts: what computes the links, by their text; links that are not there are built where they can be.
        time: epochs since the start, where this is the objective at a time of the training; None: the whole one.
        task: what outputs mean.
        across: the processes that have a part of every batch each; None where this one has all.

    Raises:
        UsageError: for impossible values, or where nothing is left to learn from.
    """

    hard: float | Hard | Callable[[Any, Any], Tensor] | str = 1.0
    soft: Soft | None = None
    links: tuple[Link, ...] = ()
    label_smoothing: float = 0.0
    parts: Mapping[str, LinkPart] = field(default_factory=dict, compare=False)
    time: float | None = None
    task: Task = field(default_factory=Classification)
    across: Across | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _ = self.labels  # checked
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must lie in 0 <= s < 1; got {self.label_smoothing}")
        if self.label_smoothing and self.labels.loss is not None:
            raise UsageError("label_smoothing is of the task's own labels' loss; hard has a loss of its own")
        if self.soft is not None and not isinstance(self.soft, Soft):
            raise UsageError(f"soft must be layerlink.Soft(temperature=..., weight=...) or None; got {self.soft!r}")
        if self.soft is not None and self.soft.topk is not None and not isinstance(self.task, ClassTask):
            raise UsageError(f"soft: topk is of outputs with a score a class; the task {self.task.name} has none")
        if self.time is None and not self._weights:
            raise UsageError("nothing to learn from: give hard, soft or a link a weight > 0")

    @cached_property
    def labels(self) -> Hard:
        """The labels' loss with its time."""
        return Hard.of(self.hard)

    @property
    def _weights(self) -> bool:
        """Whether any term has one."""
        return bool(self.labels.weight or (self.soft and self.soft.weight) or any(link.weight for link in self.links))

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Hard, soft, then the links in their order."""
        hard: list[Term] = [HardTerm(self.labels, self.task, self.label_smoothing)] if self.labels.weight else []
        soft: list[Term] = [SoftTerm(self.soft, self.task)] if self.soft is not None else []
        return (*hard, *soft, *self._link_terms)

    @cached_property
    def _link_terms(self) -> tuple[LinkTerm, ...]:
        return tuple(LinkTerm(link, self.parts.get(link.text) or build_part(link)) for link in self.links)

    @cached_property
    def of_teacher(self) -> tuple[Tap, ...]:
        """What the terms read of the teacher, each tap once."""
        return tuple(dict.fromkeys(tap for term in self.terms for tap in term.of_teacher))

    @cached_property
    def of_student(self) -> tuple[Tap, ...]:
        """What the terms read of the student, each tap once."""
        return tuple(dict.fromkeys(tap for term in self.terms for tap in term.of_student))

    @property
    def needs_teacher(self) -> bool:
        """Whether any term reads the teacher."""
        return bool(self.of_teacher)

    def link_problems(
        self, student: Activations, teacher: Activations, contexts: Mapping[str, Context] | None = None
    ) -> list[tuple[int, str]]:
        """Why links cannot be compared on this batch, each with the link's index.

        Args:
            student: what was read.
            teacher: what was read.
            contexts: of the batch, by the link's text; as much as the links need, or they are compared without.
        """
        problems: list[tuple[int, str]] = []
        for index, term in enumerate(self._link_terms):
            reasons = missing(term.link, student, teacher)
            if not reasons:
                try:
                    term(student, teacher, (contexts or {}).get(term.name, Context()))
                except ShapeError as error:
                    shapes = _shapes(student, term.of_student), _shapes(teacher, term.of_teacher)
                    reasons = [advice(term.link, *shapes, error, (term.part.lines.student, term.part.lines.teacher))]
                except UsageError as error:
                    reasons = [str(error)]
            problems += [(index, reason) for reason in reasons]
        return problems

    def at(self, epoch: float, epochs: float) -> Objective:
        """The objective at a time in the training: the terms that count then, with their weights.

        Args:
            epoch: since the start, in epochs, fractions included.
            epochs: of the whole training.
        """
        hard, soft = self.labels, self.soft
        hard_weight = hard.schedule.weight_at(hard.weight, epoch, epochs) or 0.0
        soft_weight = None if soft is None else soft.schedule.weight_at(soft.weight, epoch, epochs)
        then = [(link, link.weight_at(epoch, epochs)) for link in self.links]
        same = hard_weight == hard.weight and (soft is None or soft_weight == soft.weight)
        if same and all(weight == link.weight for link, weight in then):
            return self
        links = tuple(replace(link, weight=weight) for link, weight in then if weight is not None)
        soft = None if soft is None or soft_weight is None else replace(soft, weight=soft_weight)
        return replace(self, hard=replace(hard, weight=hard_weight), soft=soft, links=links, time=epoch)

    def __call__(
        self,
        student: Activations,
        teacher: Activations | None,
        target: Tensor | Context | None,
        factors: Mapping[str, float | Tensor] | None = None,
        contexts: Mapping[str, Context] | None = None,
        cut: Cut | None = None,
    ) -> Losses:
        """Compare student and teacher.

        Args:
            student: its logits where hard or soft is on, and every link's student taps.
            teacher: the same of the teacher, without gradients; None where no term reads it.
            target: as the task has it, such as (N,) int64 labels; None where nothing reads it. Or all that is known of
                the batch.
            factors: what links are scaled by, by their text; 1 for all others.
            contexts: what is known of the batch for terms that have it otherwise, by name, such as their masks.
            cut: compares the outputs, where that is done in pieces: student and teacher are its own.

        Raises:
            ProblemsError: every link that cannot be compared.
            UsageError: where logits, labels or anything else that a loss needs is missing or does not fit.
        """
        if self.needs_teacher and teacher is None:
            raise UsageError("soft and link losses need a teacher")
        if not self.terms:
            raise UsageError(f"nothing to learn from at epoch {self.time:g}: no term counts then")
        context = target if isinstance(target, Context) else Context(labels=target)
        of_terms = {term.name: (contexts or {}).get(term.name, context) for term in self.terms}
        terms, in_pieces = dict[str, Tensor](), {} if cut is None else cut(self.terms, of_terms)
        for term in self.terms:
            if term.name in in_pieces:
                terms[term.name] = in_pieces[term.name]
                continue
            if _is_skipped(term, student, teacher):
                continue
            try:
                terms[term.name] = term(student, teacher, of_terms[term.name])
            except (KeyError, ShapeError):
                if teacher is None or term not in self._link_terms:
                    raise
                raise links_error(self.links, self.link_problems(student, teacher, of_terms)) from None
        across = self.across
        shares = {
            term.name: term.share(student, of_terms[term.name], across)
            for term in self.terms
            if across is not None and term.name in terms
        }
        logits = self._logits(student) if cut is None else None
        return self.weigh(Losses(terms, {}, _NOTHING, logits, shares), factors)

    def _logits(self, student: Activations) -> Tensor | None:
        """The output, or what of it labels are compared with."""
        tap = self.labels.tap
        named = None if tap is None or self.labels.is_given else student.values.get(tap)
        return student.values.get(OUTPUT, named)

    def weigh(self, losses: Losses, factors: Mapping[str, float | Tensor] | None) -> Losses:
        """The losses that raw terms make: the one place where weights are applied.

        Args:
            losses: their terms, logits and shares count.
            factors: as in a call.
        """
        terms, shares = losses.terms, _that_count(losses.shares)
        known: dict[str, float | Tensor] = {term.name: term.weight for term in self.terms}
        for name, factor in (factors or {}).items():
            if known.get(name):  # what counts nothing now counts nothing at any scale
                known[name] = known[name] * factor
        weights = {name: known[name] for name in terms}
        return Losses(terms, Weights(weights), weighted_sum(terms, weights, shares), losses.logits, shares)


_NOTHING = torch.zeros(())


def _that_count(shares: Mapping[str, float | Tensor]) -> dict[str, float | Tensor]:
    """Without those that are 1; what is on the device is not looked at."""
    return {name: share for name, share in shares.items() if isinstance(share, Tensor) or share != 1}


def missing(link: Link, student: Activations, teacher: Activations) -> list[str]:
    """Why a link's taps were not read; empty where all were."""
    return [
        activations.problems.get(tap, f"{role} layer {str(tap)!r} was not read")
        for activations, taps, role in (
            (teacher, link.teacher_taps, "teacher"),
            (student, link.student_taps, "student"),
        )
        for tap in taps
        if tap not in activations.values
    ]


def _shapes(given: Activations, taps: tuple[Tap, ...]) -> tuple[torch.Size, ...]:
    return tuple(given.values[tap].shape for tap in taps)


def _is_skipped(term: Term, student: Activations, teacher: Activations | None) -> bool:
    """Whether a layer that the term reads was left out of this pass, as some are at random."""
    of_teacher = teacher is not None and not teacher.skipped.isdisjoint(term.of_teacher)
    return of_teacher or not student.skipped.isdisjoint(term.of_student)
