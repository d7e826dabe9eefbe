"""A part of a schema, and the plain values in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict

from layerlink.config.image_size import read_size
from layerlink.files.paths import why_impossible


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, nothing changes after it was read, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, populate_by_name=True
    )


Whole = Annotated[int, Strict()]
YesNo = Annotated[bool, Strict()]
PixelSize = Annotated[int | tuple[int, int], BeforeValidator(read_size)]


def _possible(path: Path) -> Path:
    if why := why_impossible(path):
        raise ValueError(why)
    return path


FilePath = Annotated[Path, AfterValidator(_possible)]
