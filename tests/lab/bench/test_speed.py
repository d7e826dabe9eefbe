from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from layerlink.lab.bench.advice import advice
from layerlink.lab.bench.costs import count_flops
from layerlink.lab.bench.speed import Part, Speed, measure_speed, set_up_random
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.setup.setup import set_up
from layerlink.measure import timing
from layerlink.measure.timing import Timing, measure

Make = Callable[..., LoadedRecipe]
SMALL = ["student.arguments.width=0.05", "training.batch_size=8", "precision=float32", "device=cpu"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_WARM_UP", 1)
    monkeypatch.setattr(timing, "_LEAST", 2)
    monkeypatch.setattr(timing, "_SECONDS", 0.0)


def test_every_part_is_timed_and_nothing_learns(recipe: Make, quick: None) -> None:
    setup = set_up(recipe(links=True))
    before = {name: value.clone() for name, value in setup.distiller.student.named_parameters()}
    told: list[str] = []
    speed = measure_speed(setup, tell=told.append)
    names = ["data", "teacher", "student", "labels", "soft", "group2 : mse * 2", "group5 : mse", "optimiser"]
    assert [part.name for part in speed.parts] == names
    assert told == [*names, "the whole step"]
    assert speed.batch == 64
    assert all(torch.equal(value, before[name]) for name, value in setup.distiller.student.named_parameters())
    image = torch.zeros(1, 1, 32, 32)
    flops = {part.name: part.flops for part in speed.parts if part.flops is not None}
    assert flops == {
        "teacher": 64 * count_flops(setup.distiller.teacher.model, image),
        "student": 3 * 64 * count_flops(setup.distiller.student, image),
    }
    teacher = speed.parts[1]
    assert speed.share(teacher) == pytest.approx(
        flops["teacher"] / (teacher.timing.median / 1000) / speed.matrix_rate, rel=1e-12
    )


def test_an_adapter_is_timed_within_its_link_and_on_its_own(recipe: Make, quick: None) -> None:
    link = "group3 -> group2 : mse, adapter=auto"
    setup = set_up(recipe(f"links={json.dumps([link])}", links=True))
    parts = measure_speed(setup).parts
    assert [(part.name, part.within) for part in parts if link in part.name] == [
        (link, None),
        (f"adapter of {link}", link),
    ]
    own = {part.name: Timing(1, 1, 1, 7) for part in parts}
    own[link], own[f"adapter of {link}"] = Timing(5, 5, 5, 7), Timing(4, 4, 4, 7)
    speed = Speed(
        64, 1e9, tuple(replace(part, timing=own[part.name], flops=None) for part in parts), Timing(9, 9, 9, 7)
    )
    said = advice(speed, setup)
    assert said[0] == f"{link} takes 45 % of the time."  # of 5 + 6 parts of 1 ms: the adapter is not counted twice
    assert any(text.startswith(f"Most of {link} is its adapter") for text in said)
    assert not any(text.startswith("Links over large maps") for text in said)


def test_links_between_images_are_said_to_be_quadratic(recipe: Make) -> None:
    link = "group5 : rkd"
    setup = set_up(recipe(f"links={json.dumps([link])}", links=True))
    speed = Speed(64, 1e9, (*speed_of(data=1, student=1).parts, Part(link, Timing(2, 2, 2, 7))), Timing(4, 4, 4, 7))
    said = advice(speed, setup)
    assert any(text.startswith(f"{link} compares each example with every other, 4,096 pairs") for text in said)
    assert not any("large maps" in text for text in said)


def test_of_streamed_images_the_loader_is_named(recipe: Make, tmp_path: Path) -> None:
    for number in range(40):
        path = tmp_path / "photos" / "train" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    root = tmp_path / "photos"
    data = f"data={{name: folder, root: {root}, image_size: 32, validation: 4, memory_gb: 1e-6, workers: 3}}"
    setup = set_up(recipe(data, "training.batch_size=8"))
    (said,) = (text for text in advice(speed_of(data=5, student=1), setup) if "disk" in text)
    assert "data.workers=3" in said
    assert "data.memory_gb=0.1," in said  # 40 images of 3,072 bytes, rounded up to a tenth of 10^9


def test_links_alone_that_end_soon_are_measured_as_at_the_start(recipe: Make, quick: None) -> None:
    links = ["group2 : mse, until=1", "group5 : mse"]
    setup = set_up(recipe("hard=0", "soft=null", f"links={json.dumps(links)}", "training.batch_size=128", links=True))
    seen: list[list[str]] = []
    weigh = setup.distiller.forward

    def forward(*given: Any, **named: Any) -> Any:
        losses = weigh(*given, **named)
        seen.append(list(losses.terms))
        return losses

    setup.distiller.forward = forward  # type: ignore[method-assign]
    parts = measure_speed(setup).parts
    assert [part.name for part in parts] == ["data", "teacher", "student", *links, "optimiser"]
    assert len(seen) > 2  # two batches an epoch: the third step is of the second
    assert all(terms == links for terms in seen)


def test_without_a_recipe_the_study_is_measured_on_random_images(quick: None) -> None:
    setup = set_up_random([*SMALL, "links=[]", "soft=null", "teacher=null"])
    assert setup.images.train.images.shape == (32, 3, 32, 32)
    assert [part.name for part in measure_speed(setup).parts] == ["data", "student", "labels", "optimiser"]


def test_timing_gives_median_and_quartiles_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.001, 1.0, 1.003, 2.0, 2.002, 3.0, 3.004, 4.0, 4.005, 5.0, 5.006, 6.0, 6.007])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(timing, "_SECONDS", 0.0)
    calls: list[int] = []
    found = measure(lambda: calls.append(1), torch.device("cpu"))
    assert len(calls) == 3 + 7
    assert (found.low, found.median, found.high) == pytest.approx((2.5, 4.0, 5.5))
    assert found.passes == 7


def speed_of(step: tuple[float, float] = (10.0, 10.0), **milliseconds: float) -> Speed:
    parts = tuple(
        Part(name.replace("_", " "), Timing(value, value, value, 7), 1e6 if name in ("teacher", "student") else None)
        for name, value in milliseconds.items()
    )
    return Speed(64, 1e9, parts, Timing(10.0, *step, 7))


def test_advice_names_what_dominates_and_what_to_change(recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlink.lab.bench.advice.choose_precision", lambda _name, _device: "bfloat16")
    setup = set_up(recipe(links=True))
    said = advice(speed_of(data=1, teacher=6, student=1, optimiser=1), setup)
    assert said[0] == "teacher takes 67 % of the time."
    assert said[1] == "This machine multiplies bfloat16 faster: precision=auto."
    assert "teacher.store=auto keeps its logits on disk" in said[2]
    assert said[3].startswith("The teacher reaches 17 % of the matrix rate")
    assert len(said) == 4
    still = set_up(recipe("data.augment=none", links=True))
    assert "logits and linked layers on disk" in advice(speed_of(data=1, teacher=6, student=1), still)[2]
    assert any("data.augment=none" in text for text in advice(speed_of(data=5, student=1), setup))
    named = Speed(
        64, 1e9, (*speed_of(data=1, student=1).parts, Part("group2 : mse * 2", Timing(2, 2, 2, 7))), Timing(4, 4, 4, 7)
    )
    assert any(text.startswith("Links over large maps are dear: group2 : mse * 2.") for text in advice(named, setup))


def test_a_busy_machine_is_told(recipe: Make) -> None:
    setup: Any = set_up(recipe())
    busy = advice(speed_of(step=(8.0, 16.0), data=1, student=5), setup)
    assert any("Something else seems to run on this machine" in text for text in busy)
    calm = advice(speed_of(step=(9.0, 11.0), data=1, student=5), setup)
    assert not any("Something else" in text for text in calm)
