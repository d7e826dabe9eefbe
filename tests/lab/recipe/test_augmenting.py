from __future__ import annotations

import pytest
from pydantic import ValidationError

from layerlink.data.augment import Augmentation, Mixing
from layerlink.lab.recipe.schema import DataSection, Recipe


def data(**fields: object) -> DataSection:
    return DataSection.model_validate(fields)


def test_fields_become_what_draws() -> None:
    assert data().more is None
    assert data().mixing is None
    assert data(augment="crop-flip").more is None
    found = data(resized_crop=[0.08, 1], colour=0.4, randaugment=[2, 9], cutout=0.25, mixup=0.2, cutmix=1.0)
    assert found.more == Augmentation(
        resized_crop=(0.08, 1), colour=(0.4, 0.4, 0.4, 0.0), randaugment=(2, 9), cutout=0.25
    )
    assert found.mixing == Mixing(0.2, 1.0)
    assert (
        found.described
        == "resized_crop 0.08 1, colour 0.4 0.4 0.4 0, randaugment 2 9, cutout 0.25, mixup 0.2, cutmix 1"
    )
    assert data(colour=[0.4, 0.2, 0, 0.1]).more == Augmentation(colour=(0.4, 0.2, 0.0, 0.1))
    assert data(rescale=[0.5, 2]).more == Augmentation(rescale=(0.5, 2))
    assert data(views=2, cutout=0.5).views == 2  # they differ


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"resized_crop": [0, 1]}, "resized_crop must be two numbers, 0 < low <= high <= 1"),
        ({"resized_crop": [0.9, 0.5]}, "low <= high"),
        ({"resized_crop": [0.5, 1], "rescale": [0.5, 2]}, "give resized_crop or rescale, not both"),
        ({"rescale": [0.001, 2]}, "rescale must begin at 0.05"),
        ({"crop_ratio": [1, 1]}, "crop_ratio is of resized_crop"),
        ({"colour": "strong"}, "must be one number, or three or four"),
        ({"colour": [0.1, 0.1, 0.1, 0.9]}, "of hue up to 0.5"),
        ({"colour": 0}, "not all 0"),
        ({"randaugment": [0, 5]}, r"1..8 operations"),
        ({"randaugment": [2, 11]}, r"strength 0..10"),
        ({"cutout": 1.5}, "less than or equal to 1"),
        ({"mixup": 0}, "greater than 0"),
        ({"views": 2}, "the same without augmentation"),
        ({"image_size": [96, 0]}, r"must be a whole number in 1..4096, or two of them, \[height, width\]"),
        ({"image_size": 5000}, "must be a whole number in 1..4096"),
    ],
)
def test_what_cannot_be_is_told(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        data(**fields)


def test_a_square_has_one_form_and_sizes_of_teachers_have_its_ratio() -> None:
    assert data(image_size=[32, 32]).image_size == 32
    assert data(image_size=[96, 128]).image_size == (96, 128)
    teacher = {"model": "unet", "weights": "own", "image_size": [192, 256]}
    recipe = {"data": {"image_size": [96, 128]}, "student": "unet", "teacher": teacher}
    assert Recipe.model_validate(recipe).teacher_sizes == [(192, 256)]
    with pytest.raises(ValidationError, match="a teacher sees images of 224x224, the student of 96x128"):
        Recipe.model_validate({**recipe, "teacher": {**teacher, "image_size": 224}})


def test_a_store_cannot_hold_views_of_two_images() -> None:
    recipe = {"student": "resnet8", "teacher": {"model": "resnet20", "weights": "own", "store": "auto"}, "soft": {}}
    Recipe.model_validate({**recipe, "data": {"cutout": 0.5}})
    with pytest.raises(ValidationError, match="with mixup or cutmix a view is of two: leave out"):
        Recipe.model_validate({**recipe, "data": {"cutmix": 1.0}})
