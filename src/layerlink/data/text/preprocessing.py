"""What a run did to its texts before its model saw them, as facts that go with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerlink.data.text.tables import Column
from layerlink.data.text.textset import TextSet
from layerlink.data.text.tokens import Tokenizer
from layerlink.data.text.views import TextViews
from layerlink.errors import LayerlinkError, UsageError

Text = str | Sequence[str]  # a text, or a pair


@dataclass(frozen=True)
class TextPreprocessing:
    """Tokenise, cut, pad to the longest text of a batch.

    Args:
        tokenizer: its name or folder.
        vocabulary: a digest of what it makes of texts.
        max_length: in tokens; longer texts are cut.
        columns: of the tables that the texts were read from: one, or two of which each pair is a text.
    """

    tokenizer: str
    vocabulary: str
    max_length: int
    columns: tuple[Column, ...]

    @cached_property
    def loaded(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            UsageError: where there is none.
            LayerlinkError: where it makes other tokens than the model was trained with.
        """
        found = Tokenizer.load(self.tokenizer)
        if found.vocabulary != self.vocabulary:
            raise LayerlinkError(
                f"the tokenizer {self.tokenizer} makes other tokens than the one that the model was trained with: its "
                "files were changed or replaced"
            )
        return found

    def __call__(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """What the model gets.

        Args:
            texts: n, one or more: of one column each a text, of two each a pair.

        Returns:
            ``input_ids``, ``attention_mask`` and, where models take them, ``token_type_ids``: (n, L) int64.

        Raises:
            UsageError: where they are none, or not as many as there are columns.
        """
        tokens, starts, segments = self.loaded.tokens(self._columns(texts), self.max_length)
        some = TextSet(tokens, starts, torch.zeros(len(texts), dtype=torch.int64), ("",), segments)
        return TextViews(self.tokenizer, self.vocabulary, self.max_length, self.loaded.padding)(some)

    def _columns(self, texts: Sequence[Text]) -> list[list[str]]:
        wanted = "a list of texts" if len(self.columns) == 1 else "a list of pairs of texts"
        if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
            raise UsageError(f"expected {wanted}; got {'none' if not texts else type(texts).__name__}")
        rows = [(it,) if isinstance(it, str) else tuple(it) for it in texts]
        wrong = [row for row in rows if len(row) != len(self.columns) or not all(isinstance(it, str) for it in row)]
        if wrong:
            raise UsageError(f"expected {wanted}; among them is {wrong[0]!r:.60}")
        return [list(column) for column in zip(*rows, strict=True)]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "tokenizer": self.tokenizer,
            "vocabulary": self.vocabulary,
            "max_length": self.max_length,
            "columns": list(self.columns),
        }

    @classmethod
    def of(cls, facts: Any) -> TextPreprocessing:
        """What ``facts`` says.

        Raises:
            ValueError: where it says something else.
        """
        if not isinstance(facts, Mapping):
            raise ValueError("preprocessing is a mapping")
        tokenizer, vocabulary, length, columns = (
            facts.get(name) for name in ("tokenizer", "vocabulary", "max_length", "columns")
        )
        if not isinstance(tokenizer, str) or not isinstance(vocabulary, str):
            raise ValueError(f"tokenizer and vocabulary must be texts; got {tokenizer!r:.60} and {vocabulary!r:.60}")
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            raise ValueError(f"max_length must be a whole number of tokens; got {length!r:.60}")
        right = isinstance(columns, list) and len(columns) in (1, 2)
        if not isinstance(columns, list) or not right or not all(_is_column(it) for it in columns):
            raise ValueError(f"columns must be one name or place, or two; got {columns!r:.60}")
        return cls(tokenizer, vocabulary, length, tuple(columns))

    @classmethod
    def of_run(cls, facts: Mapping[str, Any], path: Path, columns: Sequence[Column]) -> TextPreprocessing:
        """As a run's ``data.json`` has it.

        Raises:
            LayerlinkError: where that is damaged.
        """
        try:
            return cls.of({**facts, "columns": list(columns)})
        except ValueError as error:
            raise LayerlinkError(f"{path} is damaged: {error}") from None


def _is_column(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
