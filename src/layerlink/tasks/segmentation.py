"""Segmentation: one class of C for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from layerlink.losses import ShapeError, hard_cross_entropy
from layerlink.tasks.classes import ClassTask
from layerlink.tasks.counting import accuracy_of, class_counts, class_ious, mean_iou
from layerlink.tasks.task import Score


@dataclass(frozen=True)
class Segmentation(ClassTask):
    """Logits (N, C, H, W) of C >= 2 classes; maps of labels (N, H, W) in 0..C-1.

    Args:
        ignore: the label of pixels that do not count, neither for labels nor for softened outputs; None: all count.
        unlabelled: the label of pixels whose class is not known: the labels' loss alone leaves them out.
    """

    ignore: int | None = 255

    name = "segmentation"
    score = Score("miou", "mean IoU")

    def problems(self, output: Size, classes: int) -> list[str]:
        """Where the output is not (N, C, H, W)."""
        if len(output) == 4 and output[1] == classes:
            return []
        return [f"must give logits (N, {classes}, H, W) for the data's {classes} classes; got {tuple(output)}"]

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """Where targets are not maps of labels."""
        if target.ndim != 3 or target.is_floating_point():
            return [f"segmentation needs maps of labels (N, H, W); the data has {target.dtype} {tuple(target.shape)}"]
        there = self.known(target, self._counting(target))
        values = target if there is None else target[there]
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < classes:
            return [
                f"labels must lie in 0..{classes - 1} or be the ignored {self.ignore}; got {int(values.min())}.."
                f"{int(values.max())}"
            ]
        return []

    def positions(self, output: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Pixels that are not ignored, where the caller's mask has them."""
        places = output.shape[:1] + output.shape[2:]
        counting = self._counting(target) if target is not None and target.shape == places else None
        if mask is None or output.ndim != 4:
            return counting
        if mask.shape == output.shape[:1]:
            mask = mask.view(-1, 1, 1).expand(places)
        if mask.shape != places:
            return counting
        return mask if counting is None else mask & counting

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy, mean over the pixels that count."""
        if output.ndim != 4 or target.is_floating_point():
            raise ShapeError(
                "hard loss of the task segmentation needs logits (N, C, H, W) and labels (N, H, W); got "
                f"{tuple(output.shape)} and {target.dtype} {tuple(target.shape)}"
            )
        if target.ndim == 4 and target.shape[1] == 1:
            raise ShapeError(f"labels are maps (N, H, W); got {tuple(target.shape)}. Take the axis out: labels[:, 0]")
        if target.shape[1:] != output.shape[2:]:
            raise ShapeError(
                f"the student gives maps of {tuple(output.shape[2:])}, labels are {tuple(target.shape[1:])}: let the "
                "model scale its output to its inputs"
            )
        return hard_cross_entropy(output, target.long(), label_smoothing=label_smoothing, mask=self.known(target, mask))

    def answers(self, output: Tensor) -> Tensor:
        """The most likely class of every pixel: (n, H, W), uint8 where that holds them."""
        found = output.argmax(dim=1)
        return found.to(torch.uint8) if output.shape[1] <= 256 else found

    def told(self, output: Tensor, classes: Sequence[str]) -> list[dict[str, str | float]]:
        """Of each example the class of most of its pixels, and the share of every class."""
        rows: list[dict[str, str | float]] = []
        for pixels in self.answers(output).flatten(1).long():
            shares = (torch.bincount(pixels, minlength=len(classes)).double() / pixels.numel()).tolist()
            best = max(range(len(shares)), key=shares.__getitem__)
            rows.append(
                {"answer": classes[best], **dict(zip((f"share {name}" for name in classes), shares, strict=True))}
            )
        return rows

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """(n, 3 C): of every class the pixels that were right, answered and true."""
        return class_counts(
            self.answers(output).long(), target, self.known(target, self._counting(target)), output.shape[1]
        )

    def summary(self, judged: Tensor) -> dict[str, float]:
        """Mean intersection over union of the whole set's pixels, and their accuracy, in percent."""
        counts = judged.sum(0)
        return {"miou": mean_iou(counts), "pixel_accuracy": accuracy_of(counts)}

    def by_class(self, judged: Tensor) -> list[float | None]:
        """Intersection over union of each class in percent."""
        return class_ious(judged.sum(0))

    def tally(self, output: Tensor, target: Tensor) -> Tensor:
        """The batch's counts."""
        return self.judge(output.detach(), target).sum(0)

    def score_of(self, tally: Tensor) -> float:
        """Mean IoU in percent."""
        return mean_iou(tally)

    def chance(self, target: Tensor) -> tuple[float, float]:
        """What the commonest class alone would reach: its share, divided by the number of classes that are there."""
        there = self.known(target, self._counting(target))
        counts = torch.bincount((target if there is None else target[there]).flatten().long()).double()
        return 100 * float(counts.max() / counts.sum()) / int((counts > 0).sum()), 0.0

    @property
    def no_label(self) -> float:
        """A number that a byte holds and no class has."""
        return 254

    def _counting(self, target: Tensor) -> Tensor | None:
        return None if self.ignore is None else target != self.ignore
