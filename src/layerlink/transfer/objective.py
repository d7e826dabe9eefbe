"""The objective: hard + soft + links, and the one place where weights are applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import ShapeError
from layerlink.taps import Activations, Tap
from layerlink.transfer.link import Link
from layerlink.transfer.link_list import links_error
from layerlink.transfer.terms import HardTerm, LinkTerm, Soft, SoftTerm, Term, check_weight


@dataclass(frozen=True)
class Losses:
    """The losses of one batch.

    Args:
        terms: the raw terms (scalars, unweighted) by name: "hard", "soft", and each link's text.
        weights: the factor of each term.
        total: the weighted sum, to call ``backward`` on.
        logits: (N, C), the student's scores; None for a student whose logits nothing asked for.
    """

    terms: dict[str, Tensor]
    weights: dict[str, float]
    total: Tensor
    logits: Tensor | None

    def __str__(self) -> str:
        terms = [
            f"{name.partition(' :')[0]} {float(term.detach()):.4g} * {self.weights[name]:g}"
            for name, term in self.terms.items()
        ]
        return "   ".join([*terms, f"total {float(self.total.detach()):.4g}"])


@dataclass(frozen=True)
class Objective:
    """What a student is taught by: ``hard * CE + alpha * soft + sum over links of beta * loss``.

    Args:
        hard: weight of the labels' loss, >= 0; 0 leaves it out.
        soft: the softened outputs' loss, or None.
        links: the linked layers; the weighted terms are summed, not averaged, over links.
        label_smoothing: share of the target spread evenly over the classes, 0 <= s < 1.

    Raises:
        UsageError: for impossible values, or where nothing is left to learn from.
    """

    hard: float = 1.0
    soft: Soft | None = None
    links: tuple[Link, ...] = ()
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_weight("hard", self.hard)
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must lie in 0 <= s < 1; got {self.label_smoothing}")
        if self.soft is not None and not isinstance(self.soft, Soft):
            raise UsageError(f"soft must be layerlink.Soft(temperature=..., weight=...) or None; got {self.soft!r}")
        if not self.hard and not (self.soft and self.soft.weight) and not any(link.weight for link in self.links):
            raise UsageError("nothing to learn from: give hard, soft or a link a weight > 0")

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Hard, soft, then the links in their order."""
        hard: list[Term] = [HardTerm(self.hard, self.label_smoothing)] if self.hard else []
        soft: list[Term] = [SoftTerm(self.soft)] if self.soft is not None else []
        return (*hard, *soft, *self._link_terms)

    @cached_property
    def _link_terms(self) -> tuple[LinkTerm, ...]:
        return tuple(LinkTerm(link) for link in self.links)

    @cached_property
    def of_teacher(self) -> tuple[Tap, ...]:
        """What the terms read of the teacher, each tap once."""
        return tuple(dict.fromkeys(term.of_teacher for term in self.terms if term.of_teacher is not None))

    @cached_property
    def of_student(self) -> tuple[Tap, ...]:
        """What the terms read of the student, each tap once."""
        return tuple(dict.fromkeys(term.of_student for term in self.terms))

    @property
    def needs_teacher(self) -> bool:
        """Whether any term reads the teacher."""
        return bool(self.of_teacher)

    def link_problems(self, student: Activations, teacher: Activations) -> list[tuple[int, str]]:
        """Why links cannot be compared on this batch, each with the link's index."""
        problems: list[tuple[int, str]] = []
        for index, term in enumerate(self._link_terms):
            reasons = [
                activations.problems.get(tap, f"{role} layer {str(tap)!r} was not read")
                for activations, tap, role in (
                    (teacher, term.of_teacher, "teacher"),
                    (student, term.of_student, "student"),
                )
                if tap not in activations.values
            ]
            if not reasons:
                try:
                    term(student, teacher, None)
                except ShapeError as error:
                    reasons = [f"{error}. Link layers of the same shape: layerlink layers MODEL lists them"]
            problems += [(index, reason) for reason in reasons]
        return problems

    def at(self, epoch: float, epochs: float) -> Objective:
        """The objective at a time in the training: the links that are not over yet, with their weights then.

        Args:
            epoch: since the start, in epochs, fractions included.
            epochs: of the whole training.
        """
        then = [(link, link.weight_at(epoch, epochs)) for link in self.links]
        if all(weight == link.weight for link, weight in then):
            return self
        links = tuple(replace(link, weight=weight) for link, weight in then if weight or not link.weight)
        return replace(self, links=links)

    def __call__(
        self,
        student: Activations,
        teacher: Activations | None,
        target: Tensor | None,
        factors: Mapping[str, float] | None = None,
    ) -> Losses:
        """Compare student and teacher.

        Args:
            student: its logits where hard or soft is on, and every link's student tap.
            teacher: the same of the teacher, without gradients; None where no term reads it.
            target: (N,) int64 labels or (N, C) probabilities; None where hard is 0.
            factors: what links are scaled by, by their text; 1 for all others.

        Raises:
            ProblemsError: every link that cannot be compared.
            UsageError: where logits or labels are missing or do not fit.
        """
        if self.needs_teacher and teacher is None:
            raise UsageError("soft and link losses need a teacher")
        terms: dict[str, Tensor] = {}
        for term in self.terms:
            try:
                terms[term.name] = term(student, teacher, target)
            except (KeyError, ShapeError):
                if teacher is None or term not in self._link_terms:
                    raise
                raise links_error(self.links, self.link_problems(student, teacher)) from None
        return self.weigh(terms, student.logits, factors)

    def weigh(self, terms: dict[str, Tensor], logits: Tensor | None, factors: Mapping[str, float] | None) -> Losses:
        """The losses that raw terms make: the one place where weights are applied."""
        known = {term.name: term.weight for term in self.terms}
        for name, factor in (factors or {}).items():
            if name in known:
                known[name] *= factor
        weights = {name: known[name] for name in terms}
        return Losses(terms, weights, _weighted_sum(terms, weights), logits)


def _weighted_sum(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    # A term of weight 0 is logged and no more: 0 * infinity would be NaN.
    weighted = [term if weights[name] == 1 else term * weights[name] for name, term in terms.items() if weights[name]]
    if not weighted:  # such as links alone, none of them measured yet
        return next(iter(terms.values())) * 0.0
    total = weighted[0]
    for term in weighted[1:]:
        total = total + term
    return total
