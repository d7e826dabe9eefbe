from __future__ import annotations

from pathlib import Path

import pytest
import torch

import layerlink as ll
from layerlink.design.shrink.folder import StudentFolder
from layerlink.lab.recipe.file import dump_recipe, load_recipe
from nets import blocks, images

RECIPE = load_recipe(
    "a", text="{student: vgg7, teacher: {model: vgg16, weights: own}, data: {name: digits}, soft: {temperature: 3}}"
).recipe


def written(path: Path) -> StudentFolder:
    folder = StudentFolder(path)
    torch.manual_seed(0)
    shrunk = ll.shrink(blocks(4), [images(8, 8)], params=0.77)
    folder.check()
    folder.write(shrunk, RECIPE, "layerlink shrink a --params=0.6")
    return folder


def test_the_recipe_names_the_source_beside_it_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = written(Path("new"))
    assert "model: student.py:build" in folder.recipe.read_text()
    monkeypatch.chdir("/")
    recipe = load_recipe(str(tmp_path / folder.recipe)).recipe
    assert recipe.student.model == f"{tmp_path / 'new' / 'student.py'}:build"
    assert recipe.user_code == [("student.model", recipe.student.model)]
    model = ll.build_model(recipe.student.model)
    assert sum(it.numel() for it in model.parameters()) > 0


def test_a_short_recipe_says_what_differs() -> None:
    text = dump_recipe(RECIPE, short=True)
    assert len(text.splitlines()) < 10
    assert load_recipe("a", text=text).recipe == RECIPE


def test_what_was_changed_since_is_never_replaced(tmp_path: Path) -> None:
    folder = written(tmp_path)
    written(tmp_path)  # again, over its own
    folder.source.write_text(folder.source.read_text() + "# mine\n")
    with pytest.raises(ll.UsageError, match=r"student.py was changed since shrink wrote it and would be lost"):
        folder.check()
    other = StudentFolder(tmp_path / "other")
    other.path.mkdir()
    other.recipe.write_text("a: 1\n")
    with pytest.raises(ll.UsageError, match=r"recipe.yaml is there and shrink did not write it"):
        other.check()
