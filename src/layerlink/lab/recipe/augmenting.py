"""What is drawn for every view, in a recipe."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from layerlink.data.augment import Augmentation, Mixing
from layerlink.data.augment.policy import MOST_OPERATIONS, STRONGEST
from layerlink.lab.recipe.section import Section

_DEFAULT_RATIO = (3 / 4, 4 / 3)


def _four(value: Any) -> Any:
    """One number is of brightness, contrast and saturation; three leave hue out."""
    given = [value] * 3 if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(given, list | tuple) and len(given) == 3:
        given = [*given, 0.0]
    if (
        not isinstance(given, list | tuple)
        or len(given) != 4
        or any(isinstance(it, bool) or not isinstance(it, int | float) for it in given)
    ):
        raise ValueError(
            "must be one number, or three or four: of brightness, contrast, saturation and hue, such as 0.4 or "
            f"[0.4, 0.4, 0.4, 0.1]; got {value!r:.60}"
        )
    return tuple(map(float, given))


class AugmentFields(Section):
    """Fields of a data section: augmentation beside crop and flip."""

    resized_crop: tuple[float, float] | None = Field(
        None, description="least and largest share of an image's area that a view shows, such as [0.08, 1]"
    )
    crop_ratio: tuple[float, float] = Field(
        _DEFAULT_RATIO, description="of resized_crop: least and largest factor by which a window is stretched"
    )
    rescale: tuple[float, float] | None = Field(
        None, description="an image is scaled by a factor between these, such as [0.5, 2], and a view cut out of it"
    )
    colour: Annotated[tuple[float, float, float, float], BeforeValidator(_four)] | None = Field(
        None,
        description="largest changes of brightness, contrast, saturation and hue; one number is of the first three",
    )
    randaugment: tuple[int, float] | None = Field(
        None, description="how many operations of RandAugment for a view, and how strong of 10, such as [2, 9]"
    )
    cutout: float | None = Field(
        None, gt=0, le=1, description="side of an erased square, as a share of the view's shorter side"
    )
    mixup: float | None = Field(
        None, gt=0, le=100, description="a view is of two images: parameter of the Beta distribution of their shares"
    )
    cutmix: float | None = Field(
        None, gt=0, le=100, description="a box of another image is pasted: the same, of its area"
    )

    @model_validator(mode="after")
    def _are_possible(self) -> AugmentFields:
        problems = []
        for name, least, most in (("resized_crop", 0.0, 1.0), ("crop_ratio", 0.0, 100.0), ("rescale", 0.0, 100.0)):
            value = getattr(self, name)
            if value is not None and not least < value[0] <= value[1] <= most:
                problems.append(f"{name} must be two numbers, {least:g} < low <= high <= {most:g}; got {list(value)}")
        if self.rescale is not None and not self.rescale[0] >= 0.05:
            problems.append(f"rescale must begin at 0.05 or more; got {self.rescale[0]:g}")
        if self.resized_crop is not None and self.rescale is not None:
            problems.append("give resized_crop or rescale, not both: each says what part of an image a view shows")
        if self.crop_ratio != _DEFAULT_RATIO and self.resized_crop is None:
            problems.append("crop_ratio is of resized_crop, which is not set")
        if self.colour is not None and not (
            all(0 <= it <= 1 for it in self.colour) and any(self.colour) and self.colour[3] <= 0.5
        ):
            problems.append(f"colour must be changes in 0..1, of hue up to 0.5, not all 0; got {list(self.colour)}")
        if self.randaugment is not None and not (
            1 <= self.randaugment[0] <= MOST_OPERATIONS and 0 <= self.randaugment[1] <= STRONGEST
        ):
            problems.append(
                f"randaugment must be [1..{MOST_OPERATIONS} operations, strength 0..{STRONGEST}]; got "
                f"{list(self.randaugment)}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def more(self) -> Augmentation | None:
        """What is drawn for a view of one image; None where nothing is."""
        found = Augmentation(
            self.resized_crop, self.crop_ratio, self.rescale, self.colour, self.randaugment, self.cutout
        )
        return None if found == Augmentation(crop_ratio=self.crop_ratio) else found

    @property
    def mixing(self) -> Mixing | None:
        """How views are made of two images; None where they are of one."""
        return None if self.mixup is None and self.cutmix is None else Mixing(self.mixup, self.cutmix)

    @property
    def described(self) -> str:
        """What is set, in words; empty where nothing is."""
        words = []
        for name in ("resized_crop", "rescale", "colour", "randaugment", "cutout", "mixup", "cutmix"):
            value = getattr(self, name)
            if value is not None:
                numbers = value if isinstance(value, tuple) else (value,)
                words.append(f"{name} {' '.join(f'{it:g}' for it in numbers)}")
        return ", ".join(words)
