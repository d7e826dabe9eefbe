from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

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
