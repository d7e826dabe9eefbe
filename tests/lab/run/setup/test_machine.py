from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from layerlink.cli.terminal.console import Console
from layerlink.cli.terminal.setup import show_setup
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.machine import choose_precision, kind_of_processor, processor_name, tf32
from layerlink.lab.run.setup.setup import set_up

Make = Callable[..., LoadedRecipe]
GPU = torch.device("cuda")


@pytest.fixture
def newer_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 6))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)


def test_tf32_is_told_as_torch_is_set_up(newer_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tf32(GPU) == ("convolutions",)
    assert tf32(torch.device("cpu")) == ()
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision="tf32", allow_tf32=True))
    assert tf32(GPU) == ("convolutions", "matrix products")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert tf32(GPU) == ()


def test_an_older_gpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert tf32(GPU) == ()


def test_the_header_of_a_run_tells_it(
    recipe: Make, newer_gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setup = set_up(recipe("precision=float32"))
    said: list[Any] = []
    console, run = Console(), RunFolder(tmp_path / "run")
    monkeypatch.setattr(console, "say", said.append)
    show_setup(console, setup, run)
    assert said[-1] == "machine    cpu, float32"
    show_setup(console, replace(setup, device=GPU), run)
    assert said[-1] == "machine    cuda, float32, convolutions in TF32 (NVIDIA_TF32_OVERRIDE=0 to change)"


def test_float16_is_had_for_the_asking() -> None:
    assert choose_precision("float16", torch.device("cpu")) == "float16"


def test_processors_of_one_name_are_told_apart_by_their_generation() -> None:
    one, other = (
        "processor\t: 0\ncpu family\t: 23\nmodel\t\t: 49\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t\t: 1\n",
        "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n",
    )
    assert kind_of_processor(one) == "AMD EPYC (family 23, model 49)"
    assert kind_of_processor(other) == "AMD EPYC (family 26, model 2)"
    arm = kind_of_processor("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n")
    assert arm.endswith(" (implementer 0x41, part 0xd40)")
    assert kind_of_processor("") != ""


def test_a_processors_instructions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX1024")
    assert " with AVX1024, " in processor_name(torch.device("cpu"))
