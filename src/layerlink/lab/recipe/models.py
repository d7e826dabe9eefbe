"""The models in a recipe: student, teacher, several teachers; their weights, and how they see images."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from layerlink.lab.recipe.section import FilePath, PixelSize, Section

OWN = Path("own")  # as weights: those that the model's own callable has loaded


class ModelSection(Section):
    """A model."""

    model: str = Field(
        description="a name that `layerlink ls` shows, hf:NAME_OR_FOLDER, package.module:callable, or file.py:callable "
        "beside the recipe"
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="keyword arguments; the project's own models get num_classes, image_size and channels unasked",
    )
    weights: FilePath | None = Field(None, description="a .safetensors file or a run folder")
    logits: str = Field("", description="element of the output that holds the logits, where it is no tensor")
    head: str = Field("", description="its classifier, for losses that ask for it; found where it gives the logits")

    @property
    def loaded_from(self) -> Path | None:
        """The file or folder that its weights are read from; None where its callable has loaded them, or nobody."""
        return None if self.weights in (None, OWN) else self.weights


class StudentSection(ModelSection):
    """The model that learns; `student: vgg7` is short for `student: {model: vgg7}`."""

    from_teacher: dict[str, str] = Field(
        default_factory=dict,
        description="layers that begin as the teacher's: path here: path there (TEACHER/path of several teachers)",
    )
    frozen: tuple[str, ...] = Field((), description="paths of layers whose weights are not trained")


class StoreSection(Section):
    """What the teacher gives, kept on disk and read back; `store: auto` is short for the defaults."""

    dtype: Literal["float32", "bfloat16", "uint8"] = Field(
        "bfloat16", description="of stored layers; logits are float32, or as soft.topk has them. uint8: per channel"
    )
    budget_gb: float = Field(8.0, gt=0, description="10^9 bytes on disk; what is over it is computed on every batch")
    root: FilePath | None = Field(None, description="folder of the stores; by default in layerlink's cache")


# Of pixels where white is 1, per channel of RGB.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def _defaults_by_name(value: Any) -> Any:
    if value == "auto":
        return {}
    if value is None or isinstance(value, dict | StoreSection):
        return value
    raise ValueError(f"must be auto, or fields such as {{dtype: uint8, budget_gb: 2}}; got {value!r}")


EMA = "ema"  # as a teacher's model: the student's own average


class TeacherSection(ModelSection):
    """The frozen model; `teacher: vgg16` is short for `teacher: {model: vgg16}`.

    `teacher: {model: ema, arguments: {decay: 0.999}}` is the student's own average.
    """

    mean: tuple[float, ...] | None = Field(
        None, description="that it was trained with, per channel where white is 1; None: the student's"
    )
    std: tuple[float, ...] | None = Field(None, description="the same of the standard deviation")
    normalize: Literal["imagenet", "half"] | None = Field(
        None, description="in place of mean and std: those of ImageNet, or 0.5 and 0.5"
    )
    image_size: PixelSize | None = Field(None, description="pixels that it was trained with; None: the student's")
    store: Annotated[StoreSection | None, BeforeValidator(_defaults_by_name)] = Field(
        None, description="auto: keep what the teacher gives on disk, and read it in place of computing it again"
    )

    @model_validator(mode="after")
    def _both_statistics(self) -> TeacherSection:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std, or neither")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean and std must have a number a channel; got {len(self.mean)} and {len(self.std)}")
        if not all(value > 0 for value in self.std or ()):
            raise ValueError(f"std must be > 0; got {min(self.std or ()):g}")
        if self.normalize is not None and self.mean is not None:
            raise ValueError("give normalize, or mean and std")
        if self.model == EMA and (self.weights or self.store or self.image_size or self.statistics):
            raise ValueError("ema is the student's own average: it has its weights, its images and no store")
        if self.model == EMA and not 0 <= self.decay < 1:
            raise ValueError(f"ema has the argument decay, 0 <= decay < 1; got {self.arguments}")
        if self.store is not None and self.image_size is not None:
            raise ValueError("a teacher with an image_size of its own is computed on every batch: leave out store")
        return self

    @property
    def decay(self) -> float:
        """Of a student's average; NaN where its arguments say something else."""
        decay = self.arguments.get("decay", 0.999)
        right = self.arguments.keys() <= {"decay"} and isinstance(decay, int | float)
        return float(decay) if right and isinstance(decay, int | float) else math.nan

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation of its own; None where it has none."""
        if self.normalize is not None:
            return STATISTICS[self.normalize]
        return None if self.mean is None or self.std is None else (self.mean, self.std)


def model_by_name(value: Any) -> Any:
    """A model's name in place of its section."""
    return {"model": value} if isinstance(value, str) else value


StudentField = Annotated[StudentSection, BeforeValidator(model_by_name)]
TeacherField = Annotated[TeacherSection | None, BeforeValidator(model_by_name)]
NamedTeacher = Annotated[TeacherSection, BeforeValidator(model_by_name)]


MOST_LETTERS = 60  # of a name: files are called by it, and a letter may take four bytes


def named(role: str) -> Callable[[str], str]:
    """A check of the names that links call a model by."""

    def check(value: str) -> str:
        if not value.isidentifier() or len(value) > MOST_LETTERS:
            raise ValueError(f"a {role}'s name is of at most {MOST_LETTERS} letters, digits and _; got {value!r}")
        return value

    return check


TeacherName = Annotated[str, AfterValidator(named("teacher"))]
