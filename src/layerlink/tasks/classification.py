"""Classification: one class of C for every example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from layerlink.losses import ShapeError, hard_cross_entropy
from layerlink.tasks.classes import ClassTask
from layerlink.tasks.task import ACCURACY, Softening


@dataclass(frozen=True)
class Classification(ClassTask):
    """Logits (N, C) of C >= 2 classes; labels (N,) int64 in 0..C-1, or probabilities (N, C).

    Args:
        unlabelled: the label of examples whose class is not known, such as -1: the labels' loss leaves them out, and
            teacher and links see them. None: every example has a class.
    """

    name = "classification"
    score = ACCURACY
    one_class = True

    def problems(self, output: Size, classes: int) -> list[str]:
        """Where the output is not (N, classes)."""
        if len(output) == 2 and output[1] == classes:
            return []
        return [f"must give logits (N, {classes}) for the data's {classes} classes; got {shown(output)}"]

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """Where targets are not (N,) int64 in 0..C-1."""
        if target.ndim == 1 and target.dtype == torch.int64:
            missing = int((target < 0).sum()) if self.unlabelled is None else 0
            text = "examples have no class (-1): say task: {name: classification, arguments: {unlabelled: -1}}"
            return [f"{missing:,} of {len(target):,} {text}"] if missing else []
        return [
            f"classification needs labels (N,) int64; the data has {target.dtype} {shown(target.shape)}. "
            f"{_other_task(target)}"
        ]

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy, mean over the examples that count."""
        if output.ndim != 2:
            raise ShapeError(_not_rows(output, "hard loss"))
        return hard_cross_entropy(output, target, label_smoothing=label_smoothing, mask=self.known(target, mask))

    def soft(self, student: Tensor, teacher: Tensor, how: Softening, mask: Tensor | None = None) -> Tensor:
        """The divergence between both softmaxes at T."""
        if student.ndim != 2 and student.shape == teacher.shape:
            raise ShapeError(_not_rows(student, "soft loss"))
        return super().soft(student, teacher, how, mask)

    def answers(self, output: Tensor) -> Tensor:
        """The most likely classes, (n,) int64."""
        return answers(output)

    def told(self, output: Tensor, classes: Sequence[str]) -> list[dict[str, str | float]]:
        """Of each example its class, how probable it is, and the probability of every class."""
        rows: list[dict[str, str | float]] = []
        for probabilities in output.double().softmax(dim=1).tolist():
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            every = dict(zip((f"p {name}" for name in classes), probabilities, strict=True))
            rows.append({"answer": classes[best], "probability": probabilities[best], **every})
        return rows

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """(n, 4): the class, its negative log-likelihood, its confidence, whether it is right."""
        judged = judge(output, target)
        return torch.cat([judged, (judged[:, :1] == target[:, None]).double()], dim=1)

    def summary(self, judged: Tensor) -> dict[str, float]:
        """Accuracy in percent; the mean negative log-likelihood in nats and the calibration error in percent."""
        right = judged[:, 3] > 0.5
        numbers = {"accuracy": 100 * float(right.double().mean())}
        likelihood = float(judged[:, 1].mean())
        if math.isfinite(likelihood):  # a model may be sure of a wrong class beyond every number
            numbers |= {"nll": likelihood, "ece": calibration_error(judged[:, 2], right)}
        return numbers

    def tally(self, output: Tensor, target: Tensor) -> Tensor | None:
        """(right answers, examples with a label)."""
        if target.ndim != 1:
            return None
        right = count_correct(output, target).double()
        count = torch.full_like(right, len(target)) if self.unlabelled is None else (target != self.unlabelled).sum()
        return torch.stack([right, count.double()])

    def score_of(self, tally: Tensor) -> float:
        """Accuracy in percent."""
        right, count = tally.tolist()
        return 100 * right / count if count else float("nan")

    def chance(self, target: Tensor) -> tuple[float, float]:
        """What the commonest class alone would reach, in percent."""
        share, spread = chance(target)
        return 100 * share, 100 * spread


def shown(shape: Size) -> str:
    """A shape of a batch, for messages."""
    return f"({', '.join(['N', *map(str, shape[1:])])})" if len(shape) else "a single number"


def _other_task(target: Tensor) -> str:
    if target.is_floating_point() and target.ndim <= 2:
        return "Numbers are the task regression; yes or no of several labels is multi-label: task: multi-label"
    if target.ndim == 2:
        return "Yes or no of several labels is the task multi-label"
    return "Maps of labels are the task segmentation" if target.ndim == 3 else "Convert them: labels.long()"


def _not_rows(output: Tensor, what: str) -> str:
    fitting = {3: "layerlink.CausalLM() or SequenceLabelling() (tokens)", 4: "layerlink.Segmentation() (maps)"}
    offered = fitting.get(output.ndim)
    return (
        f"{what} of the task classification needs logits (N, C); got {tuple(output.shape)}"
        f"{'' if offered is None else f'. Another task: task={offered}'}"
    )


def answers(logits: Tensor) -> Tensor:
    """The most likely classes, (N,) int64, of logits (N, C)."""
    return logits.argmax(dim=1)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many answers are right, a scalar on the logits' device."""
    return (answers(logits.detach()) == labels).sum().float()


def percent_equal(first: Tensor, second: Tensor) -> float:
    """Share of equal entries, in percent: accuracy beside labels, agreement beside another model's answers."""
    return 100 * float((first == second).double().mean())


def judge(logits: Tensor, labels: Tensor) -> Tensor:
    """What is to be known of every answer: (N, 3) float64, the class, its negative log-likelihood, its confidence.

    Args:
        logits: (N, C), any floating dtype.
        labels: (N,) int64.

    Returns:
        The most likely class; ``-log p[label]`` in nats; ``max p``, 0..1; with p the softmax in float64.
    """
    log_p = logits.double().log_softmax(dim=1)
    likelihood = -log_p.gather(1, labels[:, None])[:, 0]
    return torch.stack([answers(logits).double(), likelihood, log_p.amax(dim=1).exp()], dim=1)


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """How far confidence is from accuracy on average, in percent: the expected calibration error (ECE).

    Answers are sorted into bins of equal width by their confidence; ECE is the mean of the bins' distances between
    accuracy and mean confidence, weighted by their number of answers.

    Args:
        confidence: (N,) of the answers given, 0..1.
        right: (N,) bool, whether they are.
        bins: a bin holds its upper end, not its lower one.

    Source: Naeini et al. 2015; Guo et al. 2017 (arXiv 1706.04599), eq. 3, with their 15 bins.

    >>> calibration_error(torch.tensor([0.75, 0.75, 0.5, 0.5]), torch.tensor([True, True, True, False]))
    12.5
    """
    place = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gap.index_add_(0, place, right.double() - confidence.double())
    return 100 * float(gap.abs().sum()) / len(confidence)


def chance(labels: Tensor) -> tuple[float, float]:
    """What the commonest class alone would reach on (N,) labels: its share, 0..1, and the standard deviation of it."""
    share = float(torch.bincount(labels).max()) / len(labels)
    return share, math.sqrt(share * (1 - share) / len(labels))


def confusion(rows: Tensor, columns: Tensor, classes: int) -> Tensor:
    """How often each pair of classes meets: (C, C) int64.

    Args:
        rows: (N,) int64 in ``0 .. classes - 1``, such as true classes.
        columns: (N,) int64, such as answers.
        classes: C.
    """
    pairs = torch.bincount(rows * classes + columns, minlength=classes * classes)
    return pairs.reshape(classes, classes).cpu()
