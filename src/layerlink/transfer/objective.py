"""The objective: hard + soft + links, and the one place where weights are applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor
from torch.autograd.graph import GradientEdge

from layerlink.errors import UsageError
from layerlink.losses import LINK_LOSSES, ShapeError, hard_cross_entropy, soft_cross_entropy
from layerlink.taps.tap import Tap
from layerlink.transfer.link import Link, links_error


@dataclass(frozen=True)
class Activations:
    """What a model gave for one batch.

    Args:
        logits: (N, C) scores; None where nobody asked for them.
        taps: the tensor at every tap.
        problems: why a tap could not be read.
        edges: where every tap stands in the autograd graph, where that was asked for.
    """

    logits: Tensor | None
    taps: dict[Tap, Tensor] = field(default_factory=dict)
    problems: dict[Tap, str] = field(default_factory=dict)
    edges: dict[Tap, GradientEdge] = field(default_factory=dict)


# Below, logits / T leaves float32; above, the rounding of its logarithms, times T^2, is all that is left of the loss.
LOWEST_T, HIGHEST_T = 0.01, 1000.0


@dataclass(frozen=True)
class Soft:
    """The loss between softened outputs.

    Args:
        temperature: T, 0.01 to 1000, the divisor of the logits before the softmax.
        weight: alpha >= 0.
        t_squared: multiply by T^2, as Hinton et al. 2015 do.
        form: "kl" is 0 for equal outputs; "cross-entropy" has the same gradient and keeps the teacher's entropy.

    Raises:
        UsageError: for impossible values.
    """

    temperature: float = 4.0
    weight: float = 1.0
    t_squared: bool = True
    form: Literal["kl", "cross-entropy"] = "kl"

    def __post_init__(self) -> None:
        if not LOWEST_T <= self.temperature <= HIGHEST_T:
            raise UsageError(f"soft: temperature must lie in {LOWEST_T:g}..{HIGHEST_T:g}; got {self.temperature}")
        _check_weight("soft: weight", self.weight)
        if self.form not in ("kl", "cross-entropy"):
            raise UsageError(f"soft: form must be 'kl' or 'cross-entropy'; got {self.form!r}")


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
        _check_weight("hard", self.hard)
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must lie in 0 <= s < 1; got {self.label_smoothing}")
        if self.soft is not None and not isinstance(self.soft, Soft):
            raise UsageError(f"soft must be layerlink.Soft(temperature=..., weight=...) or None; got {self.soft!r}")
        if not self.hard and not (self.soft and self.soft.weight) and not any(link.weight for link in self.links):
            raise UsageError("nothing to learn from: give hard, soft or a link a weight > 0")

    @property
    def needs_teacher(self) -> bool:
        """Whether any term reads the teacher."""
        return self.soft is not None or bool(self.links)

    def link_problems(self, student: Activations, teacher: Activations) -> list[tuple[int, str]]:
        """Why links cannot be compared on this batch, each with the link's index."""
        problems: list[tuple[int, str]] = []
        for index, link in enumerate(self.links):
            reasons = [
                activations.problems.get(tap, f"{role} layer {str(tap)!r} was not read")
                for activations, tap, role in (
                    (teacher, link.teacher, "teacher"),
                    (student, link.student, "student"),
                )
                if tap not in activations.taps
            ]
            if not reasons:
                try:
                    LINK_LOSSES[link.loss](student.taps[link.student], teacher.taps[link.teacher])
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
        terms: dict[str, Tensor] = {}
        if self.hard:
            if student.logits is None or target is None:
                raise UsageError("the hard loss needs labels: pass them as target, or set hard=0")
            terms["hard"] = hard_cross_entropy(student.logits, target, label_smoothing=self.label_smoothing)
        if self.needs_teacher and teacher is None:
            raise UsageError("soft and link losses need a teacher")
        if teacher is not None:
            if self.soft is not None:
                terms["soft"] = self._soft(self.soft, student, teacher)
            terms |= self._link_terms(student, teacher)
        return self.weigh(terms, student.logits, factors)

    def weigh(self, terms: dict[str, Tensor], logits: Tensor | None, factors: Mapping[str, float] | None) -> Losses:
        """The losses that raw terms make: the one place where weights are applied."""
        soft = {"soft": self.soft.weight} if self.soft else {}
        scaled = {link.text: link.weight * (factors or {}).get(link.text, 1.0) for link in self.links}
        known = {"hard": self.hard, **soft, **scaled}
        weights = {name: known[name] for name in terms}
        return Losses(terms, weights, _weighted_sum(terms, weights), logits)

    @staticmethod
    def _soft(soft: Soft, student: Activations, teacher: Activations) -> Tensor:
        if student.logits is None or teacher.logits is None:
            raise UsageError("the soft loss needs the logits of both models")
        return soft_cross_entropy(
            student.logits,
            teacher.logits,
            temperature=soft.temperature,
            t_squared=soft.t_squared,
            entropy=soft.form == "kl",
        )

    def _link_terms(self, student: Activations, teacher: Activations) -> dict[str, Tensor]:
        try:
            return {
                link.text: LINK_LOSSES[link.loss](student.taps[link.student], teacher.taps[link.teacher])
                for link in self.links
            }
        except (KeyError, ShapeError):
            raise links_error(self.links, self.link_problems(student, teacher)) from None


def _weighted_sum(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    # A term of weight 0 is logged and no more: 0 * infinity would be NaN.
    weighted = [term if weights[name] == 1 else term * weights[name] for name, term in terms.items() if weights[name]]
    if not weighted:  # such as links alone, none of them measured yet
        return next(iter(terms.values())) * 0.0
    total = weighted[0]
    for term in weighted[1:]:
        total = total + term
    return total


def _check_weight(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
        raise UsageError(f"{name} must be a finite number >= 0; got {value!r}")
