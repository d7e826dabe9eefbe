from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import layerlink as ll
import small_recipes
from layerlink.design.propose.question import load_question, look_at
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.setup.setup import set_up


def refused(names: Sequence[str], *overrides: str) -> str:
    with pytest.raises(ll.UsageError) as error:
        load_question(names, overrides)
    return str(error.value)


def test_two_models_make_a_recipe() -> None:
    recipe = load_question(["resnet56", "my.nets:small"], ["teacher.weights=a.safetensors", "seed=3"]).recipe
    assert recipe.teacher is not None
    assert (recipe.teacher.model, recipe.student.model, recipe.data.name) == ("resnet56", "my.nets:small", "digits")
    assert (recipe.seed, recipe.links, str(recipe.teacher.weights)) == (3, (), "a.safetensors")
    assert load_question(["vgg16", "vgg7"], ["data.root=x"]).recipe.data.name == "cifar10"
    assert load_question(["vgg16", "vgg7"], ["data.root=x", "data.name=folder"]).recipe.data.name == "folder"


def test_a_recipes_own_links_are_left_out() -> None:
    assert load_recipe("study/vgg7-links").recipe.links
    assert load_question(["study/vgg7-links"], []).recipe.links == ()


def test_what_cannot_be_meant_is_explained() -> None:
    assert refused(["vgg16"]) == "vgg16 is a model; name its student, too: layerlink propose vgg16 STUDENT"
    assert refused([]).startswith(
        "expected a recipe, or a teacher and a student, then key=value; got nothing. Such as:"
    )
    assert "Did you mean study/vgg7-links" in refused(["study/vgg7-link"])
    assert refused(["study/vgg16"]).startswith("study/vgg16 has no teacher; links are proposed between one frozen")
    assert "has peers; links are proposed" in refused(["methods/mutual"])
    assert "has several teachers; links are proposed" in refused(["methods/several-teachers"])
    assert "has the student's own average as its teacher" in refused(["digits/soft"], "teacher={model: ema}")


def test_images_are_real_ones_in_random_order_and_not_augmented() -> None:
    text = small_recipes.recipe(
        "vgg7",
        90,
        40,
        "epochs: 1, batch_size: 32",
        "teacher: {model: vgg16, arguments: {width: 0.05, batch_norm: true}, weights: own}",
        "soft: {temperature: 2}",
        data=small_recipes.CROP,
    )
    setup = set_up(load_recipe("small", text=text))
    looked = look_at(setup, batches=2)
    assert looked.images == 64
    known = setup.images.views(setup.images.train.images).flatten(1)
    same = torch.cdist(looked.batch.flatten(1), known).argmin(dim=1)
    assert torch.equal(looked.batch.flatten(1), known[same])
    assert len(set(same.tolist())) == 32
    assert same.tolist() != sorted(same.tolist())
    assert look_at(setup, batches=9).images == 90
