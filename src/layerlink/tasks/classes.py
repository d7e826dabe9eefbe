"""What tasks of classes have in common: labels that are not known, softmaxes of every position."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from layerlink.losses import kd
from layerlink.tasks.task import Softening, Task


@dataclass(frozen=True)
class ClassTask(Task):
    """One class of C at every position that counts.

    Args:
        unlabelled: the label where the class is not known: the labels' loss leaves it out. None: every one is known.
    """

    unlabelled: int | None = field(default=None, kw_only=True)

    def counted(self, output: Tensor, target: Tensor, mask: Tensor | None) -> Tensor | None:
        """Positions with a label."""
        there = self.known(target, mask)
        return None if there is None else there.sum()

    def soft(self, student: Tensor, teacher: Tensor, how: Softening, mask: Tensor | None = None) -> Tensor:
        """The divergence between both softmaxes at T of every position, mean over those that count."""
        return kd(student, teacher, mask=mask, **vars(how))

    def known(self, target: Tensor, mask: Tensor | None) -> Tensor | None:
        """What counts of labels: where the mask says so and there is one; None where all do."""
        if self.unlabelled is None or target.is_floating_point():
            return mask
        there = target != self.unlabelled
        return there if mask is None else there & mask

    def partly_labelled(self) -> Task:
        """With a label of its own for what is not known."""
        return replace(self, unlabelled=int(self.no_label))
