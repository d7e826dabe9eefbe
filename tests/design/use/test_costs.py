"""What a run's models cost, counted again by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import layerlink as ll
import small_recipes
import tiny_bert
from layerlink.design.use.card import card
from layerlink.design.use.costs import costs_of
from layerlink.errors import LayerlinkError
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

NET = """
from torch import nn


def net(classes=10):
    print("called")
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, classes))
"""
TAUGHT = small_recipes.recipe(
    "'nets_of_a_cost_test:net'",
    64,
    32,
    "epochs: 1, batch_size: 32, lr: 0.02",
    "teacher: {model: vgg7, arguments: {width: 0.05}, weights: own}",
    "soft: {temperature: 2}",
).replace(f", {small_recipes.NARROW}", "")


def by_hand(model: nn.Module, image: Tensor) -> int:
    """Two for every weight that meets a value, summed over convolutions and linear layers."""
    found = []

    def count(module: nn.Module, _given: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        found.append(2 * weight.numel() * places)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.eval()(image)
    return sum(found)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    (tmp_path / "nets_of_a_cost_test.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = RunFolder(tmp_path / "run")
    train(set_up(load_recipe("r.yaml", [], text=TAUGHT)), found)
    return found


def test_student_and_teacher_are_counted_as_by_hand(run: RunFolder) -> None:
    costs = costs_of(run)
    student, teacher = costs.each
    size = json.loads(run.data.read_text())["image_size"]
    image = torch.zeros(1, 1, size, size)
    # 4 maps of 9 weights at 32x32 places, then 4,096 values to 10 classes.
    assert (student.role, student.flops) == ("student", 2 * (4 * 9 * 1024 + 4096 * 10))
    assert student.parameters == sum(it.numel() for it in load_file(run.student).values()) == 4 * 10 + 4097 * 10
    vgg = ll.build_model("vgg7", num_classes=10, image_size=size, channels=1, width=0.05)
    assert (teacher.role, teacher.flops) == ("teacher", by_hand(vgg, image))
    assert teacher.parameters == sum(it.numel() for it in vgg.parameters())
    assert costs.example == "an image of 32x32 pixels"
    text = card(run)
    assert "| student | `nets_of_a_cost_test:net` | 41,010 | 0.1556 |" in text
    assert f"| teacher | `vgg7` | {teacher.parameters:,} | {(teacher.flops or 0) / 1e6:,.4g} |" in text


def test_code_of_somebody_elses_folder_is_not_called(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    given = RunFolder(run.path.with_name("given"))
    shutil.copytree(run.path, given.path)
    given.mark.unlink()  # as somebody else's
    capsys.readouterr()
    student, teacher = costs_of(given).each
    assert capsys.readouterr().out == ""
    assert (student.flops, student.parameters) == (None, None)
    assert "was not called" in student.why_not
    assert teacher.flops == costs_of(run).each[1].flops  # which is no code of theirs
    assert "FLOPs of the student `nets_of_a_cost_test:net` were not counted: it is code" in card(given)


def test_models_of_texts_are_counted_at_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))
    model = tiny_bert.bert(tmp_path / "model", layers=2)
    tiny_bert.tables(tmp_path / "data", train=16, dev=8, test=8)
    student = f'student: {{model: "{model}", arguments: {{layers: [1]}}}}'
    text = tiny_bert.recipe("", tmp_path / "data", student, epochs=1).replace("label: 1,", "label: 1, max_length: 20,")
    run = RunFolder(tmp_path / "run")
    train(set_up(load_recipe("r.yaml", [], text=text)), run)
    (cost,) = costs_of(run).each
    length, width, inner, classes = 20, 16, 24, 2
    layer = 4 * length * width**2 + 2 * length * width * inner + 2 * length**2 * width  # projections, MLP, attention
    assert cost.flops == 2 * (layer + width**2 + width * classes)  # the pooler and the head see one token
    assert cost.parameters == sum(it.numel() for it in load_file(run.student).values())
    assert costs_of(run).example == "a text of 20 tokens"
    assert f"| student | `hf:model` | {cost.parameters:,} |" in card(run)
    shutil.rmtree(tmp_path / "model")
    (cost,) = costs_of(run).each
    assert (cost.flops, cost.why_not) == (None, "its configuration is not on this machine")
    facts = json.loads(run.data.read_text())
    run.data.write_text(json.dumps({**facts, "max_length": "20"}))
    with pytest.raises(LayerlinkError, match=r"data\.json is damaged: max_length must be a whole number"):
        costs_of(run)
