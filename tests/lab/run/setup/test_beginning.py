"""Students that begin with layers of their teacher, and layers that stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from layerlink.errors import ProblemsError
from layerlink.files.weights import read_weights
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

Make = Callable[..., LoadedRecipe]
LIKE = (
    "student={model: vgg16, arguments: {width: 0.05, batch_norm: true}, "
    "from_teacher: {group1: group1, group5: group5}, frozen: [group1]}"
)
SHORT = ["training.epochs=1", "data.train_images=40", "training.batch_size=20"]


def test_named_layers_are_the_teachers_and_the_others_new(recipe: Make) -> None:
    setup = set_up(recipe(LIKE, links=True))
    teacher, student = setup.teachers[""].state_dict(), setup.distiller.student.state_dict()
    same = {name.partition(".")[0] for name, value in student.items() if torch.equal(value, teacher[name])}
    new = {name.partition(".")[0] for name, value in student.items() if not torch.equal(value, teacher[name])}
    assert {"group1", "group5"} <= same
    assert {"group2", "group3", "group4"} <= new
    trained = {id(parameter) for parameter in setup.distiller.trainable_parameters()}
    for name, parameter in setup.distiller.student.named_parameters():
        assert (id(parameter) in trained) == (not name.startswith("group1."))


def test_frozen_layers_are_the_same_after_a_training(recipe: Make, tmp_path: Path) -> None:
    loaded = recipe(LIKE, *SHORT, links=True)
    run = RunFolder(tmp_path / "run")
    train(set_up(loaded), run)
    teacher = set_up(loaded).teachers[""].state_dict()
    after = read_weights(run.student)
    for name, value in after.items():
        if name.endswith("weight"):
            assert torch.equal(value, teacher[name]) == name.startswith("group1."), name


def test_in_a_cohort_it_begins_with_the_digits_of_the_file(recipe: Make) -> None:
    """A teacher that is shared may hold its weights in bfloat16."""
    alone = recipe(LIKE, "precision=bfloat16", links=True)
    first = set_up(alone).distiller.student.state_dict()
    cohort = set_up_cohort([recipe("precision=bfloat16", "links=[]", links=True), alone])
    held = next(value for name, value in cohort[1].teachers[""].named_parameters() if name == "group1.0.0.weight")
    assert held.dtype == torch.bfloat16
    for name, value in cohort[1].distiller.student.state_dict().items():
        assert torch.equal(value, first[name]), name


def test_what_does_not_fit_is_told_at_once(recipe: Make) -> None:
    text = "student={model: vgg7, from_teacher: {group1: group1, groop2: group2, group3: groop3}, frozen: [group9]}"
    with pytest.raises(ProblemsError) as caught:
        set_up(recipe(text, "links=[]", links=True))
    told = str(caught.value)
    assert "recipe.yaml: 4 problems" in told
    assert "group1 and the teacher's group1 differ in " in told
    assert "unknown layer of the student 'groop2'. Did you mean group2" in told
    assert "unknown layer of the teacher 'groop3'. Did you mean group3" in told
    assert "unknown layer of the student 'group9'" in told


def test_there_must_be_a_teacher_to_begin_from(recipe: Make) -> None:
    with pytest.raises(ProblemsError, match="there is no frozen teacher to begin from"):
        set_up(recipe("student={model: vgg7, from_teacher: {group1: group1}}", "teacher=null", "soft=null", "links=[]"))
