"""Multi-label: yes or no of every label, each by itself; also one yes or no alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Size, Tensor

from layerlink.losses import binary_cross_entropy, binary_kd
from layerlink.losses.shapes import at_least_float32
from layerlink.tasks.classification import shown
from layerlink.tasks.counting import average_precision, macro_f1
from layerlink.tasks.task import Score, Softening, Task


@dataclass(frozen=True)
class MultiLabel(Task):
    """Logits (N, K) before the sigmoid, one a label, K >= 1; targets (N, K) in 0..1.

    Softened outputs are compared as Bernoulli probabilities ``sigmoid(z / T)``.

    Args:
        threshold: a label is answered with yes where its probability is above, 0 < threshold < 1.
        unlabelled: the target of labels that are not known, such as -1. None: all are.
    """

    threshold: float = 0.5
    unlabelled: float | None = None

    name = "multi-label"
    score = Score("map", "mean average precision")

    def problems(self, output: Size, classes: int) -> list[str]:
        """Where the output is not (N, K)."""
        if len(output) == 2 and output[1] == classes:
            return []
        return [f"must give logits (N, {classes}) for the data's {classes} labels; got {shown(output)}"]

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """Where targets are not (N, K) in 0..1."""
        if target.ndim != 2 or target.shape[1] != classes:
            return [f"multi-label needs targets (N, {classes}), one a label; the data has {tuple(target.shape)}"]
        values = target.double()
        there = values[values != self.unlabelled] if self.unlabelled is not None else values
        if there.numel() and not 0 <= float(there.min()) <= float(there.max()) <= 1:
            return [f"multi-label needs targets in 0..1; the data has {float(there.min()):g} to {float(there.max()):g}"]
        return []

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """Binary cross-entropy, mean over the labels that are known."""
        target = _like(output, target)
        return binary_cross_entropy(output, target, label_smoothing=label_smoothing, mask=self._known(target, mask))

    def counted(self, output: Tensor, target: Tensor, mask: Tensor | None) -> Tensor | None:
        """Labels that are known."""
        known = self._known(_like(output, target), mask)
        return None if known is None else known.sum()

    def soft(self, student: Tensor, teacher: Tensor, how: Softening, mask: Tensor | None = None) -> Tensor:
        """The divergence between both sigmoids at T."""
        given: dict[str, Any] = {"mask": mask, "temperature": how.temperature, "t_squared": how.t_squared}
        loss = binary_kd(student, teacher, **given)
        if how.form == "kl":
            return loss
        own = binary_kd(torch.zeros_like(teacher), teacher, **given)
        full = math.log(2) * (how.temperature**2 if how.t_squared else 1.0)
        return loss + (full - own)  # the divergence from a fair coin is log 2 less the entropy

    def averaged(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float) -> Tensor:
        """The logits of the mean probabilities."""
        yes, no = (
            torch.stack(
                [
                    F.logsigmoid(sign * at_least_float32(output) / temperature) + math.log(share)
                    for output, share in zip(outputs, shares, strict=True)
                ]
            ).logsumexp(0)
            for sign in (1, -1)
        )
        return temperature * (yes - no)

    def answers(self, output: Tensor) -> Tensor:
        """Yes or no of every label, (n, K) uint8."""
        return (output.float().sigmoid() > self.threshold).to(torch.uint8)

    def told(self, output: Tensor, classes: Sequence[str]) -> list[dict[str, str | float]]:
        """Of each example its labels, and the probability of every one."""
        rows: list[dict[str, str | float]] = []
        for said, probabilities in zip(self.answers(output).tolist(), output.double().sigmoid().tolist(), strict=True):
            every = dict(zip((f"p {name}" for name in classes), probabilities, strict=True))
            rows.append({"answer": "; ".join(name for name, yes in zip(classes, said, strict=True) if yes), **every})
        return rows

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """(n, 2 K): every label's probability, and whether it is true; -1 where that is not known."""
        target = _like(output, target).double()
        unknown = torch.zeros_like(target, dtype=torch.bool) if self.unlabelled is None else target == self.unlabelled
        return torch.cat([output.double().sigmoid(), (target > 0.5).double().masked_fill(unknown, -1)], dim=1)

    def summary(self, judged: Tensor) -> dict[str, float]:
        """Average precision and F1 in percent, means over the labels; the share of right answers in percent.

        Labels that are never true have no precision, those never true nor answered no F1, and are left out of the
        means.
        """
        probabilities, true = judged.chunk(2, dim=1)
        there = true >= 0
        precisions = [
            average_precision(p[kept], yes[kept] > 0.5)
            for p, yes, kept in zip(probabilities.T, true.T, there.T, strict=True)
        ]
        found = [value for value in precisions if value == value]
        answered = (probabilities > self.threshold) & there
        positive = true > 0.5
        counts = torch.cat([(answered & positive).sum(0), answered.sum(0), positive.sum(0)]).double()
        right = ((answered == positive) & there).sum() / there.sum().clamp_min(1)
        return {
            "map": 100 * sum(found) / len(found) if found else float("nan"),
            "f1": macro_f1(counts),
            "label_accuracy": 100 * float(right),
        }

    def chance(self, target: Tensor) -> tuple[float, float] | None:
        """Precision of answers that do not look at inputs is the share of examples for which a label is true."""
        yes = target.double()
        there = yes != self.unlabelled if self.unlabelled is not None else torch.ones_like(yes, dtype=torch.bool)
        shares = (yes.masked_fill(~there, 0) > 0.5).sum(0) / there.sum(0).clamp_min(1)
        shares = shares[shares > 0].double()
        if not len(shares):
            return None
        spread = (shares * (1 - shares) / len(target)).sum().sqrt() / len(shares)
        return 100 * float(shares.mean()), 100 * float(spread)

    def partly_labelled(self) -> Task:
        """With ``unlabelled`` -1."""
        return replace(self, unlabelled=self.no_label)

    def without_label(self, target: Tensor, chosen: Tensor) -> Tensor:
        """As of every task; targets that have no sign become float32."""
        signed = target if target.is_floating_point() or target.is_signed() else target.float()
        return super().without_label(signed if signed.dtype != torch.bool else signed.float(), chosen)

    def _known(self, target: Tensor, mask: Tensor | None) -> Tensor | None:
        rows = None if mask is None else mask.view(-1, *(1 for _ in target.shape[1:])).expand_as(target)
        if self.unlabelled is None:
            return rows
        there = target != self.unlabelled
        return there if rows is None else there & rows


def _like(output: Tensor, target: Tensor) -> Tensor:
    """A target (N,) of one label beside an output (N, 1)."""
    return target[:, None] if output.ndim == 2 and output.shape[1] == 1 and target.ndim == 1 else target
