"""Texts in a recipe: which columns of a table are texts and labels, and how texts become tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, model_validator

from layerlink.data.text.tables import Wanted
from layerlink.errors import UsageError
from layerlink.lab.recipe.section import Section, Whole, YesNo

TEXT = "text"  # the data set's name
_OF_TEXTS = ("name", "root", "texts", "train_images", "labelled", "validation", "split_seed", "licence")

Column = Annotated[int, Strict(), Field(ge=0)] | Annotated[str, Field(min_length=1)]


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str | int) else value


class TextSection(Section):
    """Of the data set `text`."""

    columns: Annotated[tuple[Column, ...], BeforeValidator(_one_or_more)] = Field(
        ("text",),
        min_length=1,
        max_length=2,
        description="the column of texts, or two of which each pair is one; in files without a line of names, from 0",
    )
    label: Column | None = Field(
        None, description="the column of labels, names or whole numbers; None: label. Of causal-lm there is none"
    )
    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="names of the labels 0, 1, ..., or the labels in their order; None: the files'"
    )
    max_length: Whole = Field(
        128, ge=4, le=131_072, description="tokens of a text, longer ones are cut; of causal-lm tokens of a sequence"
    )
    packing: YesNo = Field(
        True,
        description="of causal-lm: texts are joined and cut into sequences of max_length; false: each is one, padded",
    )
    tokenizer: str | None = Field(None, description="a name or folder; None: that of the student, where it is hf:...")

    @property
    def wanted(self) -> Wanted:
        """What is read of a table with labels."""
        return Wanted(self.columns, "label" if self.label is None else self.label)

    def problems(self, *, causal: bool) -> list[str]:
        """What the task has no use for, in sentences.

        Args:
            causal: whether it is that of causal language models.
        """
        if not causal:
            return [] if self.packing else ["packing: false is of the task causal-lm; leave it out"]
        found = [f"{it} is of labels, and the task causal-lm has none: leave it out" for it in self._of_labels()]
        if len(self.columns) > 1:
            found.append(f"columns must be one for the task causal-lm; got {list(self.columns)}")
        return found

    def _of_labels(self) -> list[str]:
        return [name for name in ("label", "classes") if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _fits_together(self) -> TextSection:
        by_place = self.label is None and isinstance(self.columns[0], int)  # then there is no label, or it is missing
        try:
            assert Wanted(self.columns, None) if by_place else self.wanted  # noqa: S101 - made to be checked
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self


def not_of_texts(given: Iterable[str]) -> str:
    """The fields that texts have no use for, as the subject of a sentence; empty where there are none."""
    found = [name for name in given if name not in _OF_TEXTS]
    return f"{', '.join(found)} {'is' if len(found) == 1 else 'are'}" if found else ""
