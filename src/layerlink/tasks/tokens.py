"""Tasks of tokens: causal language modelling, and a label for every token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Size, Tensor

from layerlink.losses import ShapeError, hard_cross_entropy
from layerlink.tasks.classes import ClassTask
from layerlink.tasks.counting import accuracy_of, class_counts, macro_f1
from layerlink.tasks.task import Score


@dataclass(frozen=True)
class _Tokens(ClassTask):
    """Logits (N, L, C) and labels (N, L).

    Args:
        ignore: the label of tokens that do not count, neither for labels nor for softened outputs.
        unlabelled: the label of tokens that are not known: the labels' loss alone leaves them out.
    """

    ignore: int = -100

    def problems(self, output: Size, classes: int) -> list[str]:
        """Where the output is not (N, L, C)."""
        return [] if len(output) == 3 else [f"must give logits (N, L, C) of tokens; got {tuple(output)}"]

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """Where targets are not (N, L) int64."""
        if target.ndim == 2 and target.dtype == torch.int64:
            return []
        return [f"{self.name} needs labels (N, L) int64; the data has {target.dtype} {tuple(target.shape)}"]

    def positions(self, output: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Tokens that are not ignored, where the caller's mask has them."""
        places = output.shape[:2]
        counting = None
        if target is not None and target.shape == places and not target.is_floating_point():
            counting = target != self.ignore
        if mask is None or output.ndim != 3:
            return counting
        if mask.shape == output.shape[:1]:
            mask = mask[:, None].expand(places)
        if mask.shape != places:
            return counting
        return mask if counting is None else mask & counting

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy, mean over the tokens that count in the whole batch, not over its rows' means."""
        self._check(output, target)
        return hard_cross_entropy(output, target, label_smoothing=label_smoothing, mask=self.known(target, mask))

    def answers(self, output: Tensor) -> Tensor:
        """The most likely class of every token, (n, L) int32."""
        return output.argmax(dim=2).to(torch.int32)

    def _check(self, output: Tensor, target: Tensor) -> None:
        if output.ndim != 3 or target.shape != output.shape[:2] or target.dtype != torch.int64:
            raise ShapeError(
                f"hard loss of the task {self.name} needs logits (N, L, C) and labels (N, L) int64; got "
                f"{tuple(output.shape)} and {target.dtype} {tuple(target.shape)}"
            )


@dataclass(frozen=True)
class SequenceLabelling(_Tokens):
    """A class for every token: logits (N, L, C), labels (N, L) int64 in 0..C-1.

    Args:
        ignore: the label of tokens that do not count, neither for labels nor for softened outputs.
        unlabelled: the label of tokens that are not known: the labels' loss alone leaves them out.
    """

    name = "sequence-labelling"
    score = Score("f1", "macro F1")

    def problems(self, output: Size, classes: int) -> list[str]:
        """Where the output is not (N, L, C)."""
        if len(output) == 3 and output[2] == classes:
            return []
        return [f"must give logits (N, L, {classes}) for the data's {classes} classes; got {tuple(output)}"]

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """(n, 3 C): of every class the tokens that were right, answered and true."""
        there = self.known(target, target != self.ignore)
        return class_counts(output.argmax(2), target, there, output.shape[2])

    def summary(self, judged: Tensor) -> dict[str, float]:
        """F1, mean over the classes, and the tokens' accuracy, in percent."""
        counts = judged.sum(0)
        return {"f1": macro_f1(counts), "token_accuracy": accuracy_of(counts)}

    def tally(self, output: Tensor, target: Tensor) -> Tensor:
        """The batch's counts."""
        return self.judge(output.detach(), target).sum(0)

    def score_of(self, tally: Tensor) -> float:
        """Macro F1 in percent."""
        return macro_f1(tally)


@dataclass(frozen=True)
class CausalLM(_Tokens):
    """Causal language modelling: the output at a token tells the next one.

    Logits (N, L, V); labels (N, L) int64, the tokens themselves: they are shifted here. Both losses are means over the
    tokens that count in the whole batch.

    Args:
        ignore: the label of tokens that nobody has to tell, such as padding or a prompt.
        unlabelled: the label of tokens that are not known: the labels' loss alone leaves them out.
    """

    name = "causal-lm"
    score = Score("perplexity", "perplexity", unit="", higher_is_better=False)

    def positions(self, output: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Tokens after which comes one that counts; of the caller's mask, both."""
        target = target if target is not None and target.ndim == 2 else None
        found = None if target is None else super().positions(output, following(target, self.ignore), None)
        seen = super().positions(output, None, mask)
        if seen is None:
            return found
        pairs = seen & following(seen, fill=False) if target is not None else seen
        return pairs if found is None else found & pairs

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy with the next tokens, mean over those that count."""
        self._check(output, target)
        wanted = following(target, self.ignore)
        there = self.known(wanted, wanted != self.ignore if mask is None else mask)
        return hard_cross_entropy(output, wanted, label_smoothing=label_smoothing, mask=there)

    def counted(self, output: Tensor, target: Tensor, mask: Tensor | None) -> Tensor | None:
        """Next tokens that are known."""
        wanted = following(target, self.ignore)
        there = self.known(wanted, wanted != self.ignore if mask is None else mask)
        return None if there is None else there.sum()

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """(n, 3): next tokens that count, the sum of their negative log-likelihoods in nats, how many were answered."""
        wanted = following(target, self.ignore)
        there = wanted != self.ignore
        known_label = wanted.masked_fill(~there, 0)
        losses = F.cross_entropy(output.float().flatten(0, 1), known_label.flatten(), reduction="none").view_as(wanted)
        right = (output.argmax(2) == wanted) & there
        sums = (there.sum(1).double(), (losses.double() * there).sum(1), right.sum(1).double())
        return torch.stack(sums, 1)

    def summary(self, judged: Tensor) -> dict[str, float]:
        """``exp`` of the mean negative log-likelihood of a token; that mean in nats; the percent that is told."""
        count, losses, right = judged.sum(0).tolist()
        if not count:
            return {"perplexity": float("nan")}
        mean = losses / count
        return {"perplexity": _exp(mean), "nll": mean, "token_accuracy": 100 * right / count}

    def tally(self, output: Tensor, target: Tensor) -> Tensor:
        """The batch's sums."""
        return self.judge(output.detach(), target).sum(0)

    def score_of(self, tally: Tensor) -> float:
        """Perplexity."""
        count, losses = tally[:2].tolist()
        return _exp(losses / count) if count else float("nan")


def _exp(nats: float) -> float:
    return min(math.exp(min(nats, 700.0)), 1e15)  # a number that files can hold


def following(target: Tensor, fill: int | bool) -> Tensor:
    """What comes next at every place of (N, L); ``fill`` at the last."""
    return torch.cat([target[:, 1:], torch.full_like(target[:, :1], fill)], dim=1)
