"""Sweeps and searches of any content: planned or told, quickly, however many runs they ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from layerlink.errors import LayerlinkError, ProblemsError
from layerlink.lab.search.schema import load_search
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.schema import MOST_RUNS
from trees import changed_trees, junk, yaml_texts

BASE = "teacher: {model: vgg16, weights: somewhere}\nstudent: vgg7\nsoft: {temperature: 2}\n"
SWEEPS: list[Any] = [
    {
        "base": "base.yaml",
        "title": "t",
        "axes": {"soft.temperature": [1, 2.5], "training.lr": [0.1]},
        "baselines": {"labels": {"soft": None}},
        "seeds": 2,
        "published": {"source": "s", "test_accuracy": {"labels": 70}},
    },
    {"base": "base.yaml", "rows": {"one": {"links": ["a : mse"]}, "two": {}}, "seeds": [3, 1], "cohort": 2},
    {"like": "other.yaml", "set": {"training.epochs": 2}, "train_teacher": {"recipe": "base.yaml", "set": {}}},
]
RANGE = {"low": 0.1, "high": 1, "log": True}
SEARCHES: list[Any] = [
    {"base": "base.yaml", "space": {"training.lr": RANGE, "hard": [0.5, 1]}, "trials": 3},
    {"base": "base.yaml", "space": {"training.epochs": {"low": 3, "high": 9, "step": 2}}, "prune": False, "seed": 1},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "other.yaml").write_text("base: base.yaml\nrows: {one: {}}\n")
    return tmp_path


def is_planned_or_told(load: Callable[..., Any], folder: Path, text: str, overrides: list[str]) -> None:
    (folder / "any.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        plan = load(str(folder / "any.yaml"), overrides)
    except LayerlinkError as error:
        assert str(error)
        return
    if load is load_sweep:
        assert 0 < len(plan.runs) <= MOST_RUNS
        assert len({run.folder for run in plan.runs}) == len(plan.runs)


@given(tree=changed_trees(SWEEPS))
@cases(2)
def test_any_tree_is_a_sweep_or_told(tree: Any, folder: Path) -> None:
    is_planned_or_told(load_sweep, folder, json.dumps(tree), [])


@given(tree=changed_trees(SEARCHES))
def test_any_tree_is_a_search_or_told(tree: Any, folder: Path) -> None:
    is_planned_or_told(load_search, folder, json.dumps(tree), [])


@given(text=yaml_texts([json.dumps(tree, indent=1) for tree in [*SWEEPS, *SEARCHES]]), search=st.booleans())
def test_any_yaml_is_a_family_or_told(text: str, search: bool, folder: Path) -> None:
    is_planned_or_told(load_search if search else load_sweep, folder, text, [])


KEYS = [
    "axes.training.lr",
    "seeds",
    "rows.one",
    "rows.one.x",
    "set.training.epochs",
    "baselines.b.²",
    "space.hard",
    "x",
]
WORDS = st.tuples(st.sampled_from(KEYS) | st.text(max_size=8), junk())


@given(words=st.lists(WORDS, min_size=1, max_size=2), sweep=st.booleans())
def test_any_overrides_are_taken_or_told(words: list[tuple[str, Any]], sweep: bool, folder: Path) -> None:
    texts = [f"{key}={json.dumps(value)}" for key, value in words]
    load, tree = (load_sweep, SWEEPS[1]) if sweep else (load_search, SEARCHES[0])
    is_planned_or_told(load, folder, json.dumps(tree), texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: {a: {}}\nseeds: 1000000000", "at most 10,000 seeds"),
        ("axes: {" + ", ".join(f"a{n}: [1,2,3,4,5,6,7,8,9]" for n in range(9)) + "}", "too many runs; at most 10,000"),
        (f"axes: {{training.epochs: {list(range(1, 2000))}}}", "has 1,999 values; at most 1,000"),
        ("like: any.yaml", "is like itself in the end"),
        ("axes: {²: [1]}", "unknown field"),
        ("base: " + "b" * 5000 + "\nrows: {a: {}}", "unknown recipe"),
    ],
)
def test_a_sweep_of_too_much_is_refused_at_once(text: str, message: str, folder: Path) -> None:
    (folder / "any.yaml").write_text(text if "base:" in text or "like:" in text else f"base: base.yaml\n{text}\n")
    with pytest.raises(LayerlinkError) as told:
        load_sweep(str(folder / "any.yaml"))
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{training.lr: {low: -1.0e308, high: 1.0e308, step: 1}}", "too far apart"),
        (f"{{training.epochs: {list(range(1, 2000))}}}", "choices has 1,999 values; at most 1,000"),
    ],
)
def test_a_search_of_too_much_is_refused_at_once(space: str, message: str, folder: Path) -> None:
    (folder / "any.yaml").write_text(f"base: base.yaml\nspace: {space}\n")
    with pytest.raises(ProblemsError, match=message):
        load_search(str(folder / "any.yaml"))
