from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import layerlink as ll
from layerlink.cli.main import run_command_line


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = ll.build_model("resnet20", num_classes=10, image_size=8, channels=1, width=0.5)
    save_file(model.state_dict(), "teacher.safetensors")
    return "resnet20 teacher.weights=teacher.safetensors teacher.arguments={width:0.5}".replace(":0", ": 0")


def words(text: str) -> list[str]:
    name, weights, *arguments = text.split(" ", 2)
    return [name, weights, *arguments]


def test_shrink_then_run_then_evaluate(teacher: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = ["data.image_size=8", "data.train_images=64", "data.validation=32", "training.batch_size=32"]
    assert run_command_line(["shrink", *words(teacher), *fields, "--params", "0.33"]) == 0
    said = capsys.readouterr().out
    assert "layers 3 of 3 in layer1" not in said
    assert "next   layerlink run shrunk/recipe.yaml" in said
    assert run_command_line(["run", "shrunk/recipe.yaml", "training.epochs=1"]) == 0
    assert run_command_line(["evaluate", "runs/recipe-0"]) == 0
    assert run_command_line(["shrink", *words(teacher), *fields, "--params", "0.33"]) == 0  # again, over its own
    pytest.importorskip("torch_pruning")
    capsys.readouterr()
    assert run_command_line(["shrink", *words(teacher), *fields, "--params", "0.1", "--out", "narrow"]) == 0
    assert "of the channels asked for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--params", "0.3", "--collapse"],
            "give one of --params SHARE, --flops SHARE, --latency SHARE and --collapse",
        ),
        (["--params", "3"], "above 0 and below 1; got 3"),
        (["--collapse", "--start", "fits"], "start must be fit or copy; got 'fits'"),
        (["--params", "0.3", "data.nmae=digits"], "Did you mean data.name"),
    ],
)
def test_mistakes_are_explained(
    teacher: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["shrink", *words(teacher), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not Path("shrunk").exists()
