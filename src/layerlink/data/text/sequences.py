"""Sequences of tokens for causal language models, and how models see them; their labels are the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from layerlink.data.text.textset import TextSet
from layerlink.data.text.views import TextViews

TOKENS_AT_ONCE = 2048  # whose scores of 50,000 words are 0.4 GB


@dataclass(frozen=True)
class SequenceSet(TextSet):
    """Sequences of tokens.

    Args:
        labels: (N, L) int64 of the longest sequence's L tokens: the tokens, and what says that there is none.
        classes: none.
    """

    noun: ClassVar[str] = "sequences"
    exactly: ClassVar[str] = "token for token"

    def at_once(self, count: int) -> int:
        """As many as have ``TOKENS_AT_ONCE`` together: each has a score for every word there is."""
        longest = int(self.lengths.max()) if len(self) else 1
        return max(min(count, TOKENS_AT_ONCE // longest), 1)


def packed(documents: TextSet, length: int) -> SequenceSet:
    """Texts joined and cut into sequences of ``length`` tokens each; what is left at the end is left out."""
    count = len(documents.tokens) // length
    tokens = documents.tokens[: count * length]
    return SequenceSet(tokens, torch.arange(count + 1) * length, tokens.view(count, length).long(), ())


def padded(documents: TextSet, length: int, ignore: int) -> SequenceSet:
    """Every text a sequence of its own, of at most ``length`` tokens; longer ones are cut."""
    lengths = documents.lengths.clamp_max(length)
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    each = torch.arange(len(lengths)).repeat_interleave(lengths)
    tokens = documents.tokens[torch.arange(len(each)) - starts[each] + documents.starts[each]]
    labels = torch.full((len(lengths), int(lengths.max())), ignore)
    labels[torch.arange(labels.shape[1]) < lengths[:, None]] = tokens.long()
    return SequenceSet(tokens, starts, labels, ())


@dataclass(frozen=True)
class SequenceViews(TextViews):
    """Sequences as they are, or padded to the longest of their batch.

    Args:
        packing: whether all sequences are of one length: there is nothing to be masked.
        ignore: the label of padding.
    """

    packing: bool = True
    ignore: int = -100

    def __call__(
        self, texts: TextSet, indices: Tensor | None = None, epoch: int | None = None, places: object = None
    ) -> dict[str, Tensor]:
        """The view of a batch: the same in every epoch.

        Args:
            texts: n of them.
            indices: not looked at.
            epoch: not looked at.
            places: not looked at.

        Returns:
            ``input_ids`` (n, L) int64; where sequences are of many lengths ``attention_mask``, too.
        """
        if self.packing:
            return {"input_ids": texts.tokens.view(len(texts), -1).long()}
        return super().__call__(texts, indices, epoch)

    def labels(
        self, labels: Tensor, indices: Tensor | None = None, epoch: int | None = None, places: object = None
    ) -> Tensor:
        """The labels (n, L) of a batch, up to its longest sequence."""
        if self.packing:
            return labels
        return labels[:, : int((labels != self.ignore).any(0).sum())]

    def facts(self) -> dict[str, Any]:
        """What tells a run's inputs from others, for JSON."""
        return {**super().facts(), "packing": self.packing}
