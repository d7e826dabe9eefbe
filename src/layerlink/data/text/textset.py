"""Labelled texts as they lie in memory: the tokens of all, one text after the other, without padding."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from layerlink.data.examples import Examples
from layerlink.errors import LayerlinkError

BATCHES_SORTED = 50  # of random texts, so many batches are sorted by length at a time


@dataclass(frozen=True)
class TextSet(Examples):
    """Texts as tokens, each with its label.

    Args:
        tokens: (T,) int32, the tokens of every text with its special ones.
        starts: (N + 1,) int64, where each text begins in ``tokens``; the last is T. No text is empty.
        labels: (N,) int64, each in ``0 .. len(classes) - 1``, or as another task has them.
        classes: their names, in order.
        segments: (T,) uint8, 0 of the first text of a pair and 1 of the second; None where models take none.

    Raises:
        LayerlinkError: where these do not fit together.
    """

    noun: ClassVar[str] = "texts"
    exactly: ClassVar[str] = "word for word"
    tokens: Tensor
    starts: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    segments: Tensor | None = None

    def __post_init__(self) -> None:
        starts = self.starts
        if starts.ndim != 1 or not len(starts) or starts.dtype != torch.int64 or self.tokens.ndim != 1:
            raise LayerlinkError(
                f"texts must be tokens (T,) and starts (N + 1,) int64; got {tuple(self.tokens.shape)} and "
                f"{starts.dtype} {tuple(starts.shape)}"
            )
        if int(starts[0]) != 0 or int(starts[-1]) != len(self.tokens) or bool((self.lengths < 1).any()):
            raise LayerlinkError("texts must follow each other from the first token to the last, each with one or more")
        if self.segments is not None and self.segments.shape != self.tokens.shape:
            raise LayerlinkError(
                f"segments must be one a token; got {tuple(self.segments.shape)} of {tuple(self.tokens.shape)}"
            )
        self.check_labels(len(starts) - 1)

    @property
    def lengths(self) -> Tensor:
        """(N,) int64: how many tokens each text has."""
        return self.starts.diff()

    def rows(self, places: Tensor | slice) -> TextSet:
        """The texts at ``places``, of which ``TextViews`` makes inputs."""
        return self.select(places)

    def select(self, places: Tensor | slice) -> TextSet:
        """The texts at ``places`` (int64, any order, or a slice), as a set of their own."""
        starts, lengths = self.starts[:-1][places], self.lengths[places]
        ends = lengths.cumsum(0)
        first = torch.cat([ends.new_zeros(1), ends])
        total = int(first[-1])
        each = torch.arange(len(lengths), device=starts.device).repeat_interleave(lengths, output_size=total)
        tokens = torch.arange(total, device=starts.device) - first[each] + starts[each]
        segments = None if self.segments is None else self.segments[tokens]
        return replace(self, tokens=self.tokens[tokens], starts=first, labels=self.labels[places], segments=segments)

    def to(self, device: torch.device) -> TextSet:
        """The same set on ``device``."""
        segments = None if self.segments is None else self.segments.to(device)
        starts, labels = self.starts.to(device), self.labels.to(device)
        return replace(self, tokens=self.tokens.to(device), starts=starts, labels=labels, segments=segments)

    def tensors(self) -> dict[str, Tensor]:
        """Tokens, starts and segments."""
        segments = {} if self.segments is None else {"segments": self.segments}
        return {"tokens": self.tokens, "starts": self.starts, **segments}

    def digests(self) -> list[bytes]:
        """Of every text a digest of its tokens."""
        tokens, starts = self.tokens.cpu().numpy(), self.starts.tolist()
        pairs = itertools.pairwise(starts)
        return [hashlib.blake2b(tokens[low:high].tobytes(), digest_size=16).digest() for low, high in pairs]

    def order(self, generator: torch.Generator, batch_size: int) -> Tensor:
        """Random batches of texts that are about as long, in random order; see ``Examples.order``.

        The texts are shuffled. Of each run of ``BATCHES_SORTED`` batches the texts are sorted by length and cut into
        batches, and the batches of all runs are shuffled. What is left over of a whole number of batches comes last.
        """
        shuffled = torch.randperm(len(self), generator=generator)
        whole = len(self) // batch_size * batch_size
        if not whole:
            return shuffled
        lengths, runs = self.lengths.cpu(), torch.split(shuffled[:whole], BATCHES_SORTED * batch_size)
        alike = torch.cat([run[lengths[run].argsort(stable=True)] for run in runs]).view(-1, batch_size)
        batches = alike[torch.randperm(len(alike), generator=generator)]
        return torch.cat([batches.flatten(), shuffled[whole:]])
