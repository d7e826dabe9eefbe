"""Texts as a file takes them: tokens of any length; the tokenizer lies beside the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data import TextSet
from layerlink.data.examples import Examples
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.data.text.views import TextViews
from layerlink.design.export.taking import Taking
from layerlink.errors import UsageError
from layerlink.files.hub import quiet
from layerlink.optional import need
from layerlink.taps.modules import call_model

_LOOKED_AT = 64


@dataclass(frozen=True)
class TakenTexts(Taking):
    """See ``Taking``.

    Args:
        views: how the student sees texts.
        preprocessing: what makes tokens of them.
        longest: tokens that a text may have; the student takes no more.
    """

    views: TextViews
    preprocessing: TextPreprocessing
    longest: int

    def taken(self, part: Examples) -> dict[str, Tensor]:
        """Tokens, mask and, where there are any, segments: (N, L) int64."""
        assert isinstance(part, TextSet)  # noqa: S101 - made for them
        return self.views(part.to(torch.device("cpu")).rows(slice(None)))

    def seen(self, part: Examples) -> dict[str, Tensor]:
        """The same."""
        return self.taken(part)

    def example(self, part: Examples) -> Examples:
        """The two longest of some: an axis of one is taken for a fixed one where a model is traced."""
        assert isinstance(part, TextSet)  # noqa: S101 - made for them
        return longest_of(part)

    def timed(self, part: Examples, batch: int) -> Examples:
        """The first is a text of the median length, the others follow as they come."""
        assert isinstance(part, TextSet)  # noqa: S101 - made for them
        order = torch.arange(len(part), device=part.labels.device)
        middle = part.lengths.argsort(stable=True)[len(part) // 2]
        return super().timed(part.select(torch.cat((middle[None], order[order != middle]))), batch)

    def facts(self) -> dict[str, Any]:
        """Of the inputs and the tokenizer, which lies beside."""
        names = ["input_ids", "attention_mask"]
        names += ["token_type_ids"] if self.preprocessing.loaded.has_segments else []
        return {
            "inputs": [{"name": it, "dtype": "int64", "shape": ["batch", "length"]} for it in names],
            "preprocessing": {**self.preprocessing.facts(), "tokenizer": ".", "inside": False},
        }

    def write_beside(self, folder: Path) -> list[str]:
        """The tokenizer's files, as transformers reads them from the folder."""
        before = set(folder.iterdir())
        with quiet(need("transformers", "text", "writing a tokenizer")):
            self.preprocessing.loaded.own.save_pretrained(folder)
        return sorted(it.name for it in folder.iterdir() if it not in before)


def longest_of(texts: TextSet) -> TextSet:
    """The two longest of the first texts."""
    return texts.select(texts.lengths[:_LOOKED_AT].argsort(descending=True, stable=True)[:2])


def longest_taken(model: nn.Module, views: TextViews, some: TextSet) -> int:
    """Tokens that a model takes: as many as a text may have, or as many as it has positions for where these are fewer.

    Args:
        model: the student, in eval mode, on the CPU.
        views: how it sees texts.
        some: texts that it takes.
    """
    given = views(some.to(torch.device("cpu")).rows(slice(None)))
    fits, over = next(iter(given.values())).shape[1], views.max_length + 1
    tried = views.max_length  # which nearly every model takes
    while over - fits > 1:
        if _takes(model, {name: it[:1, :1].expand(1, tried).contiguous() for name, it in given.items()}):
            fits = tried
        else:
            over = tried
        tried = (fits + over) // 2
    return fits


def _takes(model: nn.Module, inputs: dict[str, Tensor]) -> bool:
    try:
        with torch.no_grad():
            call_model(model, inputs)
    except (IndexError, RuntimeError, ValueError):  # what torch and models say of too many tokens
        return False
    return True


def refuse_of_images(size: int | None, preprocessing: bool) -> None:
    """Raise ``UsageError`` where something is asked for that texts have no use for."""
    if size is not None:
        raise UsageError("--size is of images; of texts a file takes any length")
    if preprocessing:
        raise UsageError(
            "--preprocessing is of images; texts become tokens outside of a file: its tokenizer lies beside"
        )
