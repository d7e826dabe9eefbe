from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import layerlink as ll
from layerlink.design.propose.question import load_question
from layerlink.design.shrink.question import load_teacher, set_up_teacher
from layerlink.teachers import FrozenTeacher
from small_recipes import finished_run


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


def test_a_finished_runs_student_is_the_teacher(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    recipe = load_teacher([str(run)], ["data.train_images=40", "soft.temperature=2"]).recipe
    assert recipe.teacher is not None
    assert (recipe.teacher.model, recipe.student.model) == ("vgg7", "vgg7")
    assert (str(recipe.teacher.weights), recipe.links, recipe.data.train_images) == (str(run), (), 40)
    assert recipe.soft is not None
    assert (recipe.soft.temperature, recipe.training.lr) == (2, 0.01)
    taught = set_up_teacher(load_teacher([str(run)], [])).taught_by
    assert isinstance(taught, FrozenTeacher)
    trained = ll.load(run)
    assert torch.equal(trained.model.state_dict()["group1.0.0.weight"], taught.model.state_dict()["group1.0.0.weight"])
    proposed = load_question([str(run), "vgg7"], ["student.arguments={width: 0.05}"]).recipe
    assert proposed.teacher is not None
    assert (proposed.teacher.weights, proposed.student.arguments) == (run, {"width": 0.05})


def test_a_run_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "holds no finished run (result.json is missing)" in refused([str(tmp_path)])
    with pytest.raises(ll.UsageError, match="is a model; name its student"):
        load_question([str(tmp_path)], [])
