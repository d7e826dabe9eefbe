"""Views of texts: what models take of them. Padded on the device, per batch, to the longest text of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from layerlink.data.text.textset import TextSet


@dataclass(frozen=True)
class TextViews:
    """Pads texts to one length; nothing is drawn.

    Args:
        tokenizer: its name or folder, as the recipe has it.
        vocabulary: a digest of what the tokenizer makes of texts.
        max_length: in tokens; no text is longer.
        padding: the token to pad with, which the mask leaves out.
    """

    augment: ClassVar[str] = "none"
    seed: ClassVar[int] = 0
    tokenizer: str
    vocabulary: str
    max_length: int
    padding: int = 0

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
            ``input_ids`` and ``attention_mask``, (n, L) int64 of the longest text's L tokens, the mask 1 where there
            is one; with segments also ``token_type_ids``.
        """
        lengths = texts.lengths
        longest = int(lengths.max()) if len(lengths) else 0
        there = torch.arange(longest, device=lengths.device) < lengths[:, None]
        inputs = {"input_ids": self._padded(texts.tokens, there, self.padding), "attention_mask": there.long()}
        if texts.segments is not None:
            inputs["token_type_ids"] = self._padded(texts.segments, there, 0)
        return inputs

    @staticmethod
    def _padded(values: Tensor, there: Tensor, padding: int) -> Tensor:
        padded = torch.full(there.shape, padding, dtype=torch.int64, device=values.device)
        padded[there] = values.long()
        return padded

    def labels(
        self, labels: Tensor, indices: Tensor | None = None, epoch: int | None = None, places: object = None
    ) -> Tensor:
        """The labels as they are."""
        return labels

    def drawn(self, number: int) -> TextViews:
        """The same views: nothing is drawn."""
        return self

    def facts(self) -> dict[str, Any]:
        """What tells a run's inputs from others, for JSON."""
        return {"tokenizer": self.tokenizer, "vocabulary": self.vocabulary, "max_length": self.max_length}
