"""Tokenizers: found by name, told apart, and what they make of texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.hub import not_there, options_of, quiet
from layerlink.optional import need

_AT_A_TIME = 1000  # texts


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of ``transformers``.

    Args:
        place: its name or folder.
        own: the tokenizer.
        vocabulary: a digest of what it makes of texts: its tokens and all its rules.
    """

    place: str
    own: Any
    vocabulary: str

    @classmethod
    def load(cls, place: str) -> Tokenizer:
        """The tokenizer at ``place``: a folder, or a name on the Hugging Face hub. No code of it is run.

        Raises:
            UsageError: where there is none.
        """
        transformers = need("transformers", "text", "reading texts")
        where, only_here = options_of(place)
        try:
            with quiet(transformers, only_here):
                own = transformers.AutoTokenizer.from_pretrained(where, **only_here)
        except Exception as error:  # noqa: BLE001 - whatever the library raises of what is not there
            raise not_there("tokenizer ", place, error) from None
        return cls(place, own, _digest(own))

    @property
    def padding(self) -> int:
        """The token to pad with: any does where there is none of its own, as it is masked."""
        found = self.own.pad_token_id
        return 0 if found is None else int(found)

    @property
    def rules(self) -> list[Any]:
        """All that decides what is kept of texts: tokenizers of one vocabulary may differ in the token that ends a
        text, in whether a pair's texts are numbered, and in which side is cut."""
        return [self.vocabulary, self.own.eos_token_id, self.has_segments, self.own.truncation_side]

    @property
    def has_segments(self) -> bool:
        """Whether models take the numbers of the texts of a pair."""
        return "token_type_ids" in self.own.model_input_names

    def tokens(self, columns: Sequence[Sequence[str]], max_length: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Texts as tokens, one after the other.

        Args:
            columns: one of texts, or two of which each pair becomes one.
            max_length: in tokens with the special ones; longer ones are cut, of a pair the longer first.

        Returns:
            Tokens (T,) int32, starts (N + 1,) int64 and segments (T,) uint8, None where models take none.

        Raises:
            LayerlinkError: where a text has no token.
        """
        ids: list[int] = []
        segments: list[int] = []
        ends = [0]
        for start in range(0, len(columns[0]), _AT_A_TIME):
            part = [list(column[start : start + _AT_A_TIME]) for column in columns]
            given = self.own(*part, truncation=True, max_length=max_length, padding=False)
            for place, row in enumerate(given["input_ids"]):
                if not row:
                    raise LayerlinkError(f"text {start + place + 1} of a part has no token: {part[0][place]!r:.40}")
                ids += row
                ends.append(len(ids))
                if self.has_segments:
                    segments += given["token_type_ids"][place]
        tokens = torch.from_numpy(np.array(ids, dtype=np.int32))
        kinds = torch.from_numpy(np.array(segments, dtype=np.uint8)) if self.has_segments else None
        return tokens, torch.tensor(ends), kinds

    def documents(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Whole texts as tokens, one after the other, each with the token that ends a text at its end.

        Args:
            texts: none of them empty.

        Returns:
            Tokens (T,) int32 and starts (N + 1,) int64.

        Raises:
            UsageError: where the tokenizer has no token that ends a text.
        """
        end = self.own.eos_token_id
        if end is None:
            raise UsageError(
                f"the tokenizer {self.place} has no token that ends a text (eos_token), so texts would run into each "
                "other: it is of no causal language model. Name one: data.texts.tokenizer"
            )
        parts: list[Any] = []
        for start in range(0, len(texts), _AT_A_TIME):
            given = self.own(list(texts[start : start + _AT_A_TIME]), padding=False, truncation=False, verbose=False)
            rows = (row if row and row[-1] == end else [*row, end] for row in given["input_ids"])
            parts += [np.array(row, dtype=np.int32) for row in rows]
        starts = torch.tensor([0, *(len(row) for row in parts)]).cumsum(0)
        return torch.from_numpy(np.concatenate(parts)), starts

    def differs(self, other: Tokenizer, texts: Sequence[Sequence[str]]) -> str:
        """How another tokenizer sees texts otherwise, a sentence; empty where both give the same tokens.

        Args:
            other: of the teacher.
            texts: columns of some texts to compare.
        """
        if self.vocabulary == other.vocabulary:
            return ""
        if self.own.get_vocab() != other.own.get_vocab():
            sizes = len(self.own.get_vocab()), len(other.own.get_vocab())
            return f"they have other tokens: {sizes[0]:,} of {self.place}, {sizes[1]:,} of {other.place}"
        for place in range(len(texts[0])):
            pair = [[column[place]] for column in texts]
            ours, theirs = (it.own(*pair)["input_ids"][0] for it in (self, other))
            if ours != theirs:
                return (
                    f"of {texts[0][place]!r:.60} they make {len(ours)} and {len(theirs)} tokens that are not the same"
                )
        return ""


def _digest(own: Any) -> str:
    rules = getattr(own, "backend_tokenizer", None)
    if rules is not None:
        said = json.loads(rules.to_str())
        text = json.dumps({**said, "truncation": None, "padding": None}, sort_keys=True)
    else:
        plain = {name: value for name, value in own.init_kwargs.items() if isinstance(value, str | int | float)}
        plain.pop("name_or_path", None)
        text = json.dumps([type(own).__name__, own.get_vocab(), plain], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
