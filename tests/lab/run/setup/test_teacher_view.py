"""A teacher that was trained with another normalisation sees images as it was trained to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from layerlink.errors import ProblemsError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.reading.evaluation import each_image, read_test
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.teaching.keys import StoreKeys
from layerlink.taps import OUTPUT

Make = Callable[..., LoadedRecipe]
OWN = ("teacher.mean=[0.3]", "teacher.std=[0.5]")


def test_it_is_taught_as_if_the_images_were_normalised_for_it(recipe: Make) -> None:
    plain, own = set_up(recipe(links=True)), set_up(recipe(*OWN, links=True))
    images = own.images.train.images[:8]
    views = replace(own.images.views, mean=(0.3,), std=(0.5,))
    assert plain.taught_by is not None
    assert own.taught_by is not None
    expected = plain.taught_by(views(images), [OUTPUT]).values[OUTPUT]
    found = own.taught_by(own.images.views(images), [OUTPUT]).values[OUTPUT]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, plain.taught_by(own.images.views(images), [OUTPUT]).values[OUTPUT], atol=1e-2)


def test_stores_of_another_normalisation_are_others(recipe: Make) -> None:
    plain, own = set_up(recipe(links=True)), set_up(recipe(*OWN, links=True))
    keys = [StoreKeys.of(setup, setup.teacher).key(OUTPUT, "float32") for setup in (plain, own) if setup.teacher]
    assert keys[0] != keys[1]
    assert keys[1].keys() - keys[0].keys() == {"teacher_mean", "teacher_std"}


def test_test_images_are_read_so_too(recipe: Make) -> None:
    plain, own = set_up(recipe(links=True)), set_up(recipe(*OWN, links=True))
    logits = []
    for setup, views in ((plain, replace(plain.images.views, mean=(0.3,), std=(0.5,))), (own, own.images.views)):
        assert setup.teacher is not None
        logits.append(each_image(setup.teacher, setup.images.test, views, lambda given, _labels: (given,))[0])
    assert torch.allclose(*logits, atol=1e-5)
    assert "teacher_test_accuracy" in read_test(own.distiller.student, own)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("teacher.mean=[0.3]",), "give mean and std, or neither"),
        (("teacher.mean=[0.3]", "teacher.std=[0]"), "std must be > 0; got 0"),
        (("teacher.mean=[0.3, 0.2]", "teacher.std=[1]"), "must have a number a channel; got 2 and 1"),
        (("teacher.mean=[0.3, 0.2]", "teacher.std=[1, 1]"), "teacher.mean must be 1 numbers, one a channel; got 2"),
    ],
)
def test_impossible_statistics_are_told(recipe: Make, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises((ProblemsError, UsageError)) as caught:
        set_up(recipe(*overrides, links=True))
    assert message in str(caught.value)
