from __future__ import annotations

from collections.abc import Sequence

import pytest

import layerlink as ll
from layerlink.design.shrink.question import load_teacher


def refused(names: Sequence[str], *overrides: str) -> str:
    with pytest.raises(ll.UsageError) as error:
        load_teacher(names, overrides)
    return str(error.value)


def test_a_model_makes_a_recipe() -> None:
    recipe = load_teacher(["resnet56"], ["teacher.weights=a.safetensors", "data.root=x"]).recipe
    assert recipe.teacher is not None
    assert (recipe.teacher.model, recipe.student.model, recipe.data.name) == ("resnet56", "resnet56", "cifar10")
    assert load_teacher(["net.py:build"], ["teacher.weights=own"]).recipe.student.model == "net.py:build"


def test_a_recipes_student_and_links_are_left_out() -> None:
    recipe = load_teacher(["study/vgg7-links"], ["teacher.arguments={batch_norm: true}"]).recipe
    assert (recipe.student.model, recipe.student.arguments, recipe.links) == ("vgg16", {"batch_norm": True}, ())


def test_what_cannot_be_meant_is_explained() -> None:
    assert refused([]).startswith("expected one teacher, then key=value; got nothing. Such as: layerlink shrink ")
    assert refused(["resnet65"]).startswith("unknown model or recipe 'resnet65'. Did you mean resnet56")
    assert "Did you mean study/vgg7-links" in refused(["study/vgg7-link"])
    assert "digits/teacher has no teacher; a student is derived from one frozen teacher" in refused(["digits/teacher"])
