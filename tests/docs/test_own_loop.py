"""The snippets of docs/own-loop.md, each by itself with the real library: they train the student and its adapters."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from foreign_zoo import declare_torchvision

PAGE = Path(__file__).parents[2] / "docs" / "own-loop.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = {
    found["name"]: found["code"]
    for found in re.finditer(r"^## (?P<name>[^\n]+)\n.*?^```python\n(?P<code>.*?)^```$", TEXT, re.M | re.S)
}
NEEDS = {
    "Accelerate": ["accelerate"],
    "Lightning": ["lightning"],
    "Hugging Face's Trainer": ["transformers", "accelerate"],
    "The style of timm's training script": ["timm"],
}
PLAIN = "Plain PyTorch: mixed precision, accumulation"
ELSE = "What else a loop may need"


def test_every_snippet_is_run_here() -> None:
    assert SNIPPETS.keys() == {PLAIN, ELSE, *NEEDS}


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it; the teacher stays as it was, everything that is to be trained is, and the student gets nothing added."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "own_loop"}
    (hidden,) = re.findall(r"^<!-- python\n(.*?)^-->$", TEXT, re.M | re.S)
    exec(hidden, names)
    made: list[tuple[Any, dict[str, Any], list[dict[str, Any]]]] = []
    real = names["ll"].Distiller

    def noted(*args: Any, **more: Any) -> Any:
        distiller = real(*args, **more)
        teachers = [copy.deepcopy(it.state_dict()) for it in distiller.teacher.models()]
        made.append((distiller, copy.deepcopy(distiller.state_dict()), teachers))
        return distiller

    monkeypatch.setattr(names["ll"], "Distiller", noted)
    exec("distiller = ll.Distiller(teacher, student, soft=ll.Soft(temperature=4.0), "
         "links=['0 : mse * 2, adapter=auto'], example=images[:2])", names)  # fmt: skip
    own = set(names["student"].state_dict())
    exec(compile(SNIPPETS[name], str(PAGE), "exec"), names)
    distiller, before, teachers = made[-1]
    moved = {n for n, p in distiller.named_parameters() if not torch.equal(p.detach().cpu(), before[n])}
    assert {n for n, p in distiller.named_parameters() if p.requires_grad} - moved <= _untouched(distiller)
    assert any(name.startswith("parts.") for name in moved)
    for model, state in zip(distiller.teacher.models(), teachers, strict=True):
        assert all(torch.equal(value.cpu(), state[key]) for key, value in model.state_dict().items())
        assert not model.training
    if distiller is made[0][0]:
        assert set(names["student"].state_dict()) == own


def _untouched(distiller: nn.Module) -> set[str]:
    """Parameters whose gradient is exactly 0 on this data, such as the biases of attention's keys."""
    return {name for name, _ in distiller.named_parameters() if name.endswith(("key.bias", "embeddings.weight"))}


def test_plain_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(PLAIN, tmp_path, monkeypatch)
    assert "0.weight" in torch.load(tmp_path / "student.pt", weights_only=True)


def test_what_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "own_loop"}
    (hidden,) = re.findall(r"^<!-- python\n(.*?)^-->$", TEXT, re.M | re.S)
    exec(hidden, names)
    exec(compile(SNIPPETS[ELSE], str(PAGE), "exec"), names)
    terms, logits = names["losses"].terms, names["losses"].logits
    assert names["total"].item() == pytest.approx(
        2 * terms["hard"].item() + 0.5 * terms[names["apart"].text].item() + 1e-4 * logits.square().mean().item()
    )


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of other people's packages
@pytest.mark.parametrize("name", NEEDS)
def test_with_a_library(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    declare_torchvision()
    run(name, tmp_path, monkeypatch)
