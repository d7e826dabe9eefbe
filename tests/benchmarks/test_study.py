"""What is kept of the study goes on on another machine; its teacher is the rounded one."""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

import small_recipes
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.running import run_sweep

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SWEEP = "base: base.yaml\ntrain_teacher: {recipe: teacher.yaml}\nrows: {soft: {}}\nbaselines: {hard: {soft: null}}\n"


def script(name: str, *words: str | Path) -> str:
    paths = os.pathsep.join([str(BENCHMARKS.parent / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sweep(folder: Path, out: Path, seeds: int) -> list[str]:
    """The sweep's runs that are trained now."""
    before = {it: it.stat().st_mtime_ns for it in out.glob("*/result.json")}
    run_sweep(load_sweep(str(folder / "sweep.yaml"), [f"seeds={seeds}"], out=out), command="", watch=Watch())
    return sorted(it.parent.name for it in out.glob("*/result.json") if it.stat().st_mtime_ns != before.get(it))


def test_a_kept_sweep_goes_on_elsewhere_with_the_same_teacher(tmp_path: Path) -> None:
    training = "epochs: 1, batch_size: 64, lr: 0.02"
    base = small_recipes.recipe("vgg7", 64, 40, training, "teacher: vgg16", "soft: {temperature: 2}")
    for name, text in (("sweep", SWEEP), ("base", base), ("teacher", small_recipes.teacher(64, 40))):
        (tmp_path / f"{name}.yaml").write_text(text)
    here, kept, there = (tmp_path / name / "strong" for name in ("here", "kept", "there"))
    train(set_up(load_recipe(str(tmp_path / "teacher.yaml"))), RunFolder(here / "teacher"))
    trained = safetensors.torch.load_file(here / "teacher" / "student.safetensors")
    assert "rounded.safetensors.xz" in script("study_teacher.py", here / "teacher")
    taught = safetensors.torch.load_file(here / "teacher" / "student.safetensors")
    assert taught.keys() == trained.keys()
    for name, weight in trained.items():
        if weight.ndim < 2:
            assert torch.equal(taught[name], weight), name
        else:
            noise = (taught[name] - weight).flatten(1).norm() / weight.flatten(1).norm()
            assert 0.02 < noise < 0.06, name  # 1 / (8 sqrt 12) = 0.036 of what is spread as noise is
    assert script("study_teacher.py", here / "teacher") == ""
    again = safetensors.torch.load_file(here / "teacher" / "student.safetensors")
    assert all(torch.equal(again[name], taught[name]) for name in taught)

    assert sweep(tmp_path, here, 1) == ["hard-0", "soft-0"]
    script("study_keep.py", here.parent, kept.parent)
    assert not list(kept.rglob("*.safetensors"))
    there.parent.mkdir()
    script("study_keep.py", "--back", kept, there)
    script("study_teacher.py", there / "teacher")
    assert sweep(tmp_path, there, 2) == ["hard-1", "soft-1"]
    brought = safetensors.torch.load_file(there / "teacher" / "student.safetensors")
    assert all(torch.equal(brought[name], taught[name]) for name in taught)
    scores = {RunFolder(there / f"soft-{seed}").read_result().get("teacher_test_accuracy") for seed in (0, 1)}
    assert len(scores) == 1

    (kept / "teacher" / "rounded.safetensors.xz").unlink()
    script("study_keep.py", "--back", kept, there.with_name("without"))
    assert sorted(it.name for it in there.with_name("without").iterdir()) == ["hard-0", "soft-0", "sweep.json"]


def test_rounding_leaves_five_bits_and_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import study_teacher

    normal = torch.randn(64, 2000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 64)[:, None]
    peaked = torch.zeros(3, 80, 5, 5)  # its peak is 45 standard deviations
    peaked[0, 0, 0, 0], peaked[1, 1, 2, 2] = -4.0, 1e-3
    weights = {"normal": normal, "peaked": peaked, "bias": torch.tensor([0.1]), "count": torch.tensor(7)}
    small = study_teacher.rounded(weights)
    assert small["normal"].dtype == torch.int8
    back = study_teacher.opened(small)
    assert back.keys() == weights.keys()
    assert torch.equal(back["bias"], weights["bias"])
    assert torch.equal(back["count"], weights["count"])
    torch.testing.assert_close(back["peaked"], peaked, rtol=1e-6, atol=0)
    noise = (back["normal"] - normal).norm(dim=1) / normal.norm(dim=1)
    torch.testing.assert_close(noise, torch.full((64,), 8**-1 * 12**-0.5), rtol=0.05, atol=0)
    bits = 8 * len(lzma.compress(small["normal"].numpy().tobytes(), preset=9)) / normal.numel()
    assert 5.0 < bits < 5.6  # log2(8 sqrt(2 pi e)) = 5.05, and what xz falls short of it
