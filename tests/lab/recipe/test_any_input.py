"""Recipes of any content: what is taken comes back from its dump; all else is told; no code of a file ever runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from cases import cases
from layerlink.config.shipped import MOST_BYTES, shipped
from layerlink.errors import LayerlinkError, ProblemsError
from layerlink.lab.recipe.file import dump_recipe, load_recipe
from trees import changed_trees, junk, yaml_texts

SHIPPED = {name: file.read_text(encoding="utf-8") for name, file in shipped("recipe").items()}
TREES = [YAML(typ="safe", pure=True).load(text) for text in SHIPPED.values()]
FULL = {
    "data": {"name": "digits", "root": "x", "validation": 0.5, "augment": "crop", "normalize": "mean"},
    "teacher": {"model": "vgg16", "weights": "w", "arguments": {"width": 0.5}, "store": {"dtype": "uint8"}},
    "student": {"model": "vgg7", "arguments": {"depths": [1, {"a": None}]}, "logits": "0"},
    "soft": {"temperature": 2, "weight": 1, "form": "kl"},
    "links": ["group2 : mse * 40", "a -> b : mse, until=2"],
    "link_until": 3,
    "training": {"epochs": 3, "lr": 0.1, "schedule": "cosine", "ema": 0.5, "clip_norm": 1},
    "seed": 3,
}


def is_a_recipe_or_told(folder: Path, text: str | None, overrides: list[str]) -> None:
    path = folder / "any.yaml"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load_recipe(str(path) if text is not None else "study/vgg7-links", overrides).recipe
    except LayerlinkError as error:
        assert str(error)
        return
    (folder / "back.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(folder / "back.yaml")).recipe == recipe


@given(tree=changed_trees([FULL, *TREES]), ascii_only=st.booleans())
@cases(2)
def test_any_tree_is_a_recipe_or_told(tree: Any, ascii_only: bool, tmp_path: Path) -> None:
    is_a_recipe_or_told(tmp_path, json.dumps(tree, ensure_ascii=ascii_only), [])


@given(text=yaml_texts(list(SHIPPED.values())))
@cases(2)
def test_any_yaml_is_a_recipe_or_told(text: str, tmp_path: Path) -> None:
    is_a_recipe_or_told(tmp_path, text, [])


KEYS = [
    "training.epochs",
    "student",
    "student.arguments.x",
    "links.0",
    "links",
    "links.9",
    "data.root",
    "soft",
    "²",
    "",
]
KEYS += [
    "teacher.store",
    "teacher.store.dtype",
    "training.epochs.deep",
    "a" + ".a" * 2000,
    "links." + "1" * 5000,
    "1.2",
]
WORDS = st.tuples(st.sampled_from(KEYS) | st.text(max_size=10), junk() | st.text(max_size=20))


@given(overrides=st.lists(WORDS, min_size=1, max_size=3))
@cases(2)
def test_any_overrides_are_taken_or_told(overrides: list[tuple[str, Any]], tmp_path: Path) -> None:
    words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in overrides]
    is_a_recipe_or_told(tmp_path, None, words)


def refusal(folder: Path, text: str) -> str:
    (folder / "r.yaml").write_text(text)
    with pytest.raises(ProblemsError) as told:
        load_recipe(str(folder / "r.yaml"))
    return str(told.value)


LAUGHS = ["&a0 [x,x,x,x,x,x,x,x,x]"] + [f"&a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
BOMB = "student: vgg7\n" + "".join(f"a{n}: {laugh}\n" for n, laugh in enumerate(LAUGHS))
MANY = "student: {model: vgg7, arguments: {x: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(BOMB, "more than 100,000 values", id="a billion laughs"),
        pytest.param("".join(f"- {laugh}\n" for laugh in LAUGHS), "got a list of 12", id="a list of them"),
        pytest.param(f"{MANY}{'[' * 60}{']' * 60}}}}}", "30 inside each other", id="deep"),
        pytest.param(f"{MANY}{'[' * 5000}{']' * 5000}}}}}", "recursion", id="deeper"),
        pytest.param(f"{MANY}0x{'f' * 8000}}}}}", "must be below 2^63", id="a number of thousands of digits"),
        ("student: {model: vgg7, arguments: &a {x: *a}}", "an alias stands inside the value that it stands for"),
        ("student: !!python/object:os.system {model: vgg7}", "is refused: a file holds values and no code"),
        ("student: vgg7\nlinks: !links [a]", "the tag '!links' is refused"),
        ("student: vgg7\nx: !!int ''", "a value does not fit its tag"),
        ("student: vgg7\nx: !!bool x", "a value does not fit its tag"),
        ('student: "\\ud800"', "holds half a character"),
        (f"student: vgg7\ndata: {{root: {'x' * 300}}}", "a name of 300 bytes is too long for a file"),
        ('student: vgg7\ndata: {root: "a\\0b"}', "no file's name holds the character NUL"),
    ],
)
def test_what_would_hang_or_run_or_lie_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, text)


def test_a_file_that_cannot_be_meant_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(LayerlinkError, match="a recipe has at most 1,000,000"):
        load_recipe(str(tmp_path / "r.yaml"))


@pytest.mark.parametrize("where", ["file", "override"])
@pytest.mark.parametrize("tag", ["python/object/apply:os.mkdir", "python/name:os.mkdir", "python/object/new:os.mkdir"])
def test_no_code_in_yaml_runs(tag: str, where: str, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    value = f"!!{tag} [{mark}]"
    (tmp_path / "r.yaml").write_text("student: vgg7\n" + (f"x: {value}\n" if where == "file" else ""))
    with pytest.raises(LayerlinkError):
        load_recipe(str(tmp_path / "r.yaml"), [] if where == "file" else [f"student={value}"])
    assert not mark.exists()
