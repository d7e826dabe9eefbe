from __future__ import annotations

import os
from pathlib import Path

import pytest

from layerlink.config.shipped import read_source
from layerlink.errors import ProblemsError, UsageError
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.search.schema import load_search
from layerlink.lab.sweep.file import load_sweep


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(source: str, kind: str = "recipe") -> str:
    with pytest.raises(UsageError) as caught:
        read_source(source, kind)
    return str(caught.value)


def test_a_link_to_nowhere_is_told_with_where_it_leads() -> None:
    os.symlink("nowhere", "a.yaml")
    assert refusal("a.yaml") == "a.yaml is a link to nowhere, and there is no such file"


def test_a_pipe_is_not_waited_for_and_told() -> None:
    os.mkfifo("a.yaml")
    assert refusal("a.yaml") == "a.yaml is no regular file; a recipe is a YAML file"


def test_a_folder_offers_the_recipe_in_it() -> None:
    Path("runs").mkdir()
    assert refusal("runs") == "runs is a folder; a recipe is a YAML file"
    Path("runs/recipe.yaml").touch()
    assert refusal("runs").endswith(", such as runs/recipe.yaml")


def test_a_name_without_its_ending_finds_the_file() -> None:
    Path("mine").mkdir()
    Path("mine/first.yaml").touch()
    assert "Did you mean mine/first.yaml?" in refusal("mine/first")


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("study/table2", "recipe", "study/table2 is a sweep, and no recipe: layerlink sweep study/table2"),
        ("study/weights", "sweep", "study/weights is a search, and no sweep: layerlink search study/weights"),
        ("study/vgg7-links", "search", "study/vgg7-links is a recipe, and no search: layerlink run study/vgg7-links"),
    ],
)
def test_what_is_shipped_as_another_kind_names_its_verb(name: str, kind: str, told: str) -> None:
    assert refusal(name, kind) == told


@pytest.mark.parametrize(
    ("text", "load", "told"),
    [
        ("base: a\nrows: {a: {}}\n", load_recipe, "is a sweep by its fields, and no recipe: layerlink sweep 'my own'"),
        ("base: a\nspace: {seed: [1]}\n", load_sweep, "is a search by its fields, and no sweep: layerlink search"),
        ("student: vgg7\n", load_search, "is a recipe by its fields, and no search: layerlink run"),
    ],
)
def test_a_file_of_another_kind_names_its_verb(text: str, load: object, told: str) -> None:
    Path("my own").write_text(text)
    with pytest.raises(ProblemsError) as caught:
        load("my own")  # type: ignore[operator]
    assert told in str(caught.value)
    assert len(caught.value.problems) == 1


def test_text_of_another_encoding_says_what_to_do() -> None:
    Path("a.yaml").write_text("student: vgg7\n", encoding="utf-16")
    assert refusal("a.yaml").endswith("Save it as UTF-8")


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("student: vgg7\ndata:\n\tname: digits\n", 3, "Indent with blanks: YAML takes no tabs there"),
        ("student: vgg7\n---\nstudent: vgg16\n", 2, "--- begins a second document here"),
        ("# nothing\n", 1, "must be fields like `student: vgg7`; it is empty"),
        ("student: vgg7\nlinks: [@output : kd]\n", 2, "Put the value in quotes"),
        ("student: vgg7\ntraining: {epochs: 99999999999999999999}\n", 2, "a whole number must be below 2^63"),
        ("student: vgg7\ntraining: 3\n", 2, "must be fields, of epochs, batch_size"),
        ("student:\n", 1, "is empty"),
    ],
)
def test_a_slip_of_yaml_has_its_line_and_what_to_do(text: str, line: int, told: str) -> None:
    Path("a.yaml").write_text(text)
    with pytest.raises(ProblemsError) as caught:
        load_recipe("a.yaml")
    (problem,) = caught.value.problems
    assert problem.line == line
    assert told in problem.what


def test_all_values_that_are_none_are_told_at_once() -> None:
    Path("a.yaml").write_text("student: vgg7\nseed: 99999999999999999999\ndata: {root: 2026-01-01}\n")
    with pytest.raises(ProblemsError) as caught:
        load_recipe("a.yaml", ["training.epochs=99999999999999999999"])
    assert sorted(problem.where for problem in caught.value.problems) == [
        "data.root",
        "seed",
        "training.epochs   ('training.epochs=99999999999999999999' on the command line)",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs=3", "Did you mean training.epochs?"),
        ("training.root=x", "Did you mean data.root or teacher.store.root?"),
        ("temperature=3", "Did you mean soft.temperature?"),
    ],
)
def test_a_field_in_the_wrong_place_is_named_in_the_right_one(text: str, told: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        load_recipe("digits/hard", [text])
    assert told in str(caught.value)
