"""Link scales: factors that make a link's weight mean the same at every layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from layerlink.errors import LayerlinkError, UsageError
from layerlink.losses import loss_kind
from layerlink.taps import Activations
from layerlink.transfer.link import Link
from layerlink.transfer.objective import Losses

GRADIENTS_EVERY = 16  # steps; norms change slowly, and measuring them costs half a backward pass
SMOOTHING = 0.5  # share of the old factor that stays at a new measurement


class Parts(Protocol):
    """Processes that have a part of every batch each."""

    share: float  # of the batch's images that this process has, 0..1

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients."""
        ...


class LinkScales(nn.Module):
    """Measures and keeps the factors of links whose ``scale`` is not ``none``.

    ``teacher``: 1 / sd^degree of the teacher's activation over all elements of the first batch, with the degree by
    which the loss grows: for mse 1 / variance, so that a raw loss of 1 is that of predicting the mean everywhere.
    Measured once. Refused for losses that do not grow like a power of the activations.

    ``gradient``: ``|d label loss / d a| / |d link loss / d a|`` with L2 norms at the student's tapped activation ``a``,
    where the link's gradient meets that of the labels on its way to the layers that both train; the link's weight is
    then the ratio of the two. The label loss is the weighted hard one, or the weighted soft one where there is no
    hard one. Measured at the first step and every 16 steps after, smoothed.

    The factors belong to the state: a resumed training goes on with them. Where several processes have a part of the
    batch each, set ``parts``: the factors are then those of the whole batch, the same in all of them.

    Args:
        links: all links of an objective.
    """

    parts: Parts | None = None
    rests = False  # while passes are tried of which nothing is learnt
    loss_scale: Tensor | None = None  # of float16: unscaled, small gradients of such activations would be 0

    def __init__(self, links: Sequence[Link]) -> None:
        super().__init__()
        self.links = [link for link in links if is_scaled(link)]
        for link in self.links:
            _check_scale(link)
        # Those by gradient are float64 on the device, where they are measured again without being read.
        self._factors: dict[str, float | Tensor] = {}
        self._steps = 0

    @property
    def factors(self) -> dict[str, float]:
        """The factor of every link that is measured, by its text; waits for the device."""
        return {text: float(factor) for text, factor in self._factors.items()}

    @property
    def now(self) -> dict[str, float | Tensor]:
        """The factor of every scaled link by its text; 0 until it is measured. Numbers on the device stay there."""
        return {link.text: self._factors.get(link.text, 0.0) for link in self.links}

    def by_teacher(self, taught: Activations) -> None:
        """Measure what is to be measured of the teacher, once.

        Raises:
            LayerlinkError: where a layer is constant on this batch, or not finite.
        """
        for link in self.links:
            if (
                link.scale != "teacher"
                or link.text in self._factors
                or not taught.values.keys() >= {*link.teacher_taps}
            ):
                continue
            (tap,) = link.teacher_taps
            variance = self._variance(taught.values[tap].float())
            if not (math.isfinite(variance) and variance > 0):
                raise LayerlinkError(
                    f"link {link.text!r}: the teacher's layer has variance {variance:g} on the first batch, so it "
                    "cannot be scaled by it. Link a layer that is not constant, or set scale=none"
                )
            degree = loss_kind(link.loss).degree
            self._factors[link.text] = 1 / variance if degree == 2 else variance ** (-(degree or 0) / 2)

    @property
    def may_measure(self) -> bool:
        """Whether the next step may measure gradients; any other needs no ``edges``."""
        by_gradient = (link.text for link in self.links if link.scale == "gradient")
        again = self.loss_scale is not None and any(text not in self._factors for text in by_gradient)
        return not self.rests and (not self._steps % GRADIENTS_EVERY or again)

    def by_gradient(self, losses: Losses, student: Activations) -> bool:
        """Measure the gradients where that is due.

        Args:
            losses: of this step, with its graph.
            student: with the ``edges`` of the tapped activations.

        Returns:
            Whether factors changed.

        Raises:
            LayerlinkError: where the labels' loss does not depend on a link's layer.
        """
        due = [link for link in self.links if link.scale == "gradient" and link.text in losses.terms]
        measures = self.may_measure
        self._steps += 1
        # A scale that is too large at first makes a measurement say nothing: the next step is another chance.
        again = any(link.text not in self._factors for link in due)
        if not due or not measures or ((self._steps - 1) % GRADIENTS_EVERY and not again):
            return False
        name = "hard" if "hard" in losses.terms else "soft"
        labels = self._scaled(losses.terms[name] * losses.weights[name])
        edges = {tap: student.edges[tap] for link in due for tap in link.student_taps}
        found = torch.autograd.grad(labels, list(edges.values()), retain_graph=True, allow_unused=True)
        wanted = dict(zip(edges, found, strict=True))
        for link in due:
            reference = [wanted[tap] for tap in link.student_taps]
            own = torch.autograd.grad(
                self._scaled(losses.terms[link.text]),
                [edges[tap] for tap in link.student_taps],
                retain_graph=True,
                allow_unused=True,
            )
            if all(gradient is None for gradient in reference):
                raise LayerlinkError(
                    f"link {link.text!r}: the {name} loss does not depend on the student's layer, so the link cannot "
                    "be scaled by its gradient. Set scale=teacher or scale=none"
                )
            self._take(link, self._norm(reference), self._norm(own, losses.shares.get(link.text, 1.0)))
        return True

    def _scaled(self, loss: Tensor) -> Tensor:
        """Both losses are, so that their ratio stays."""
        return loss if self.loss_scale is None else loss * self.loss_scale

    def _variance(self, values: Tensor) -> float:
        if self.parts is None:
            return float(values.var(correction=0))
        mean, variance = values.mean().double(), values.var(correction=0).double()
        moments = self.parts.sum(torch.stack([mean, variance + mean**2]) * self.parts.share)
        return float(moments[1] - moments[0] ** 2)

    def _norm(self, gradients: Sequence[Tensor | None], share: float | Tensor = 1.0) -> Tensor:
        """Of the whole batch's gradient: each part's is that of a mean over its own images."""
        norms = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients if gradient is not None]
        norm: Tensor = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        if self.parts is None:
            return norm
        whole: Tensor = self.parts.sum((norm * self.parts.share * share) ** 2).sqrt()
        return whole

    def _take(self, link: Link, reference: Tensor, own: Tensor) -> None:
        # As Python's own numbers where the device has them.
        dtype = torch.float32 if reference.device.type == "mps" else torch.float64
        reference, own = reference.to(dtype), own.to(dtype)
        good = reference.isfinite() & own.isfinite() & (own > 0)
        old = self._factors.get(link.text)
        if old is None:
            # The first is looked at: until there is one, the link does not count at all.
            if good:
                self._factors[link.text] = reference / own
            return
        # Where there is nothing to go by in this batch the old one stays; a NaN is told by the loss itself.
        self._factors[link.text] = torch.where(good, SMOOTHING * old + (1 - SMOOTHING) * (reference / own), old)

    def get_extra_state(self) -> Tensor:
        """Steps and factors, float64; NaN where a factor is not measured yet."""
        factors = self.factors
        return torch.tensor(
            [self._steps, *(factors.get(link.text, math.nan) for link in self.links)], dtype=torch.float64
        )

    def set_extra_state(self, state: Tensor) -> None:
        """Go on with the factors of ``get_extra_state``."""
        steps, *factors = state.tolist()
        self._steps = int(steps)
        self._factors = {
            link.text: factor for link, factor in zip(self.links, factors, strict=True) if not math.isnan(factor)
        }


def is_scaled(link: Link) -> bool:
    """Whether its factor is measured."""
    return link.scale not in (None, "none")


def _check_scale(link: Link) -> None:
    """Raise ``UsageError`` where the teacher's spread says nothing of the loss's size."""
    if link.scale != "teacher":
        return
    if not loss_kind(link.loss).degree:
        raise UsageError(
            f"link {link.text!r}: {link.loss_text} does not grow with the activations' scale as a power of it, so "
            "scale=teacher has no meaning. Set scale=gradient or scale=none"
        )
    if len(link.teacher_taps) > 1:
        raise UsageError(f"link {link.text!r}: scale=teacher is for one tap a side. Set scale=gradient or scale=none")
