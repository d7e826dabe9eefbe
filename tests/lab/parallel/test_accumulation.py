"""Several batches an update in two processes, against one process, and against batches of their size.

Tolerances: in float64 sums in another order leave 1e-9 of a tensor's norm, and anything weighted wrongly is far above
it. In float16 every process's gradients are rounded by themselves, to 5e-4 each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from group import SUPPORT, run_group

# Of 90 images two updates of 32 and one of 26, whose last batch has 2; labels are known of 40, unevenly.
RECIPE = """\
data: {name: digits, image_size: 8, train_images: 90, validation: 40, augment: crop, crop_padding: 1, labelled: 40}
teacher: {model: "group_jobs:Tiny", arguments: {width: 6}, weights: own}
student: {model: "group_jobs:Tiny"}
soft: {temperature: 2}
links: ["body -> body : mse, adapter=conv1x1"]
training: {epochs: 2, batch_size: 8, accumulate: 4, lr: 0.05, momentum: 0.9, clip_norm: 1, ema: 0.5}
precision: float32
"""
WHOLE = ["training.batch_size=32", "training.accumulate=1"]
NORM = 'student={model: "group_jobs:Tiny", arguments: {norm: true}}'
ROWS: dict[str, list[str]] = {
    "plain": [],
    "between": [NORM, 'links=["body -> body : sp * 100", "body -> body : mse * 0.1, adapter=conv1x1(norm=True)"]'],
    "mutual": ["teacher=null", "data.augment=none", 'peers={other: {model: "group_jobs:Tiny"}}'],
    "half": [
        "precision=float16",
        'student={model: "group_jobs:Tiny", arguments: {double: false}}',
        "data.augment=none",
    ],
}


@dataclass(frozen=True)
class Ended:
    one: Path
    two: Path


def jobs(names: dict[str, list[str]], stop: bool = False) -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = []
    for name, row in names.items():
        job = {"recipe": "recipe.yaml", "out": name, "rows": {"it": row}}
        # Inside the second update of the second epoch; the same job then goes on.
        every += [{**job, "stop": [1, 5]}, job] if stop else [job]
    return every


def run_jobs(folder: Path, size: int, todo: list[dict[str, Any]]) -> list[str]:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "jobs.json").write_text(json.dumps(todo))
    ended = run_group([str(SUPPORT / "group_jobs.py"), "jobs.json"], size, folder)
    assert [code for code, _, _ in ended] == [0] * size, "\n".join(text for _, _, text in ended)
    return ended[0][1].splitlines()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("accumulated")
    run_jobs(root / "one", 1, jobs({**ROWS, "whole": WHOLE}))
    said = run_jobs(root / "two", 2, jobs(ROWS, stop=True))
    assert [line for line in said if not line.startswith("{")] == [f"{name} interrupted" for name in ROWS]
    return Ended(root / "one", root / "two")


def largest_difference(first: Path, second: Path, file: str = "student.safetensors") -> float:
    """Relative to every tensor's own norm."""
    a, b = (safetensors.torch.load_file(folder / "it" / file) for folder in (first, second))
    assert a.keys() == b.keys()
    differences = (
        (a[name].double() - b[name].double()).norm() / a[name].double().norm().clamp_min(1e-12) for name in a
    )
    return max(map(float, differences))


def test_they_end_with_the_weights_of_batches_of_their_size(ended: Ended) -> None:
    assert largest_difference(ended.one / "whole", ended.one / "plain") < 1e-9
    assert largest_difference(ended.one / "whole", ended.two / "plain") < 1e-9


def test_batch_norm_and_losses_between_images_see_a_batch_of_all_processes(ended: Ended) -> None:
    assert largest_difference(ended.one / "between", ended.two / "between") < 1e-9


def test_students_that_teach_each_other(ended: Ended) -> None:
    one, two = (folder / "mutual" for folder in (ended.one, ended.two))
    assert largest_difference(one, two) < 1e-9
    assert largest_difference(one, two, "peer-other.safetensors") < 1e-9


def test_in_float16_to_its_rounding(ended: Ended) -> None:
    one, two = (folder / "half" for folder in (ended.one, ended.two))
    assert largest_difference(one, two) < 2e-3
