"""The `data` of a recipe: which examples, and how models see them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from layerlink.data.stream.images import MEMORY
from layerlink.lab.recipe.augmenting import AugmentFields
from layerlink.lab.recipe.section import FilePath, PixelSize, Whole, YesNo
from layerlink.lab.recipe.texts import TEXT, TextSection, not_of_texts


class DataSection(AugmentFields):
    """Which images, and how the models see them."""

    name: str = Field(
        "digits", description="a data set that `layerlink ls` shows, or package.module:callable that gives a Source"
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="of the sources parquet and segmentation, or of a callable of your own, beside root and size",
    )
    root: FilePath | None = Field(None, description="folder of its files; relative to where the command is run")
    download: YesNo = Field(False, description="fetch the original archive into root where it is missing")
    skip_bad: YesNo = Field(False, description="leave out images that cannot be read, with a warning")
    most_pixels: Whole = Field(
        89_000_000, ge=1, description="that an image may have, in the source folder; no larger one is decoded"
    )
    memory_gb: float = Field(
        MEMORY / 1e9,
        gt=0,
        description="10^9 bytes of pixels that may lie in memory; more are read from disk as they are needed",
    )
    workers: Whole | None = Field(
        None,
        ge=0,
        le=64,
        description="processes that read and decode ahead of the training then; one a core by default",
    )
    image_size: PixelSize = Field(32, description="pixels the models get, up to 4096 a side; images are scaled to it")
    train_images: Whole | None = Field(None, ge=1, description="how many to train on; all that are left by default")
    labelled: Whole | None = Field(
        None, ge=1, description="how many of the training images have labels, spread over the classes; all by default"
    )
    unlabelled: FilePath | None = Field(
        None,
        description="a folder of images without classes, at any depth: teacher and links teach by them, labels do not",
    )
    validation: float = Field(0.1, gt=0, description="kept apart for selection: a share below 1, or a count")
    split_seed: Whole = Field(0, ge=0, lt=2**31, description="of the split; the same for runs to be compared")
    augment: Literal["none", "flip", "crop", "crop-flip"] = Field("none", description="what is drawn for every view")
    views: Whole = Field(
        1, ge=1, le=8, description="augmented views of every image in a batch, for losses that ask for them"
    )
    crop_padding: Whole = Field(4, ge=0, le=64, description="largest shift of a crop, in stored pixels")
    normalize: Literal["mean-std", "mean", "none"] = Field(
        "mean-std", description="subtract the training images' mean; divide by their standard deviation"
    )

    licence: str | None = Field(
        None, min_length=1, description="of the data, for model cards: a name such as cc-by-4.0, or a sentence"
    )
    texts: TextSection | None = Field(None, description="columns, labels and tokens of the data set text")

    @property
    def tables(self) -> TextSection:
        """How tables of texts are read: as ``texts`` says, or by default."""
        return self.texts or TextSection.model_validate({})

    @property
    def partly_labelled(self) -> bool:
        """Whether there are training examples without a label."""
        return self.labelled is not None or self.unlabelled is not None

    @field_validator("validation")
    @classmethod
    def _whole_count(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("a share below 1 or a whole number of images")
        return value

    @model_validator(mode="after")
    def _of_one_kind(self) -> DataSection:
        if self.name != TEXT and self.texts is not None:
            raise ValueError(f"texts is of data set text; name is {self.name}")
        fields = type(self).model_fields
        given = [it for it in fields if getattr(self, it) != fields[it].get_default(call_default_factory=True)]
        if self.name == TEXT and (others := not_of_texts(given)):
            raise ValueError(f"{others} of images, and the data set text has none: leave out")
        return self

    @model_validator(mode="after")
    def _views_differ(self) -> DataSection:
        if self.views > 1 and self.augment == "none" and self.more is None and self.mixing is None:
            raise ValueError("several views of an image are the same without augmentation: set augment")
        return self
