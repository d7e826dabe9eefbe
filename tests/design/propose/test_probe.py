from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from layerlink.design.propose.folder import ProposalFolder
from layerlink.design.propose.probe import candidate_sets, ranked, sweep_text
from layerlink.design.propose.proposing import Looked, look
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.running import cohorts
from layerlink.taps import Observed
from layerlink.tasks import ACCURACY
from nets import blocks, images, vgg

TEXT = "student: vgg7\nteacher: {model: vgg16, weights: own}\nsoft: {temperature: 2}\nhard: 0.1\ndata: {name: digits}\n"


@pytest.fixture(scope="module")
def looked() -> Looked:
    torch.manual_seed(0)
    return look(Observed(vgg("vgg16"), "teacher"), Observed(vgg("vgg7"), "student"), [images()])


def layers(links: list[str]) -> list[str]:
    return [link.partition(" :")[0] for link in links]


def test_sets_worth_a_try_each_once(looked: Looked) -> None:
    groups = [f"group{number}" for number in range(1, 6)]
    sets = {name: layers(links) for name, links in candidate_sets(looked, looked.proposal()).items()}
    assert sets == {
        "proposed": groups,
        "last link alone": groups[-1:],
        "one fewer": groups[1:],
        "one more": [*groups, "hidden"],
    }
    few = {name: layers(links) for name, links in candidate_sets(looked, looked.proposal(1)).items()}
    assert few == {"proposed": groups[-1:], "one more": [groups[2], groups[-1]], "all stage ends": [*groups, "hidden"]}


def test_without_links_there_is_nothing_to_probe() -> None:
    model = blocks(2)
    alike = look(Observed(model, "teacher"), Observed(model, "student"), [images(8, 8)])
    with pytest.raises(UsageError, match="there is nothing to probe: no link is proposed"):
        candidate_sets(alike, alike.proposal())


def test_the_sweep_is_one_cohort_a_seed(tmp_path: Path, looked: Looked) -> None:
    recipe = load_recipe("a", text=TEXT).recipe
    folder = ProposalFolder(tmp_path)
    sets = candidate_sets(looked, looked.proposal())
    folder.write(looked.proposal(), recipe, "layerlink propose", sweep_text(sets, recipe, epochs=3, seeds=2))
    plan = load_sweep(str(folder.sweep), out=folder.probes)
    rows = list(dict.fromkeys(run.row.name for run in plan.runs))
    assert rows == ["labels only", "soft only", *sets]
    first = {run.row.name: run.loaded.recipe for run in plan.runs if run.seed == 0}
    assert [list(first[name].links) for name in sets] == list(sets.values())
    assert (first["labels only"].soft, first["labels only"].links) == (None, ())
    assert first["labels only"].hard.weight == 1
    assert first["soft only"].soft is not None
    assert {run.loaded.recipe.training.epochs for run in plan.runs} == {3}
    assert [len(cohort) for cohort in cohorts(plan.runs)] == [6, 6]


def test_labels_that_do_not_teach_are_no_baseline(looked: Looked) -> None:
    recipe = load_recipe("a", text=TEXT.replace("hard: 0.1", "hard: 0")).recipe
    text = sweep_text({"proposed": ["a : mse"]}, recipe, epochs=1, seeds=1)
    assert "labels only" not in text
    assert "soft only" in text


def outcome(name: str, seed: int, value: float | None) -> Any:
    result = (
        None if value is None else {"validation_accuracy": value, "score": ACCURACY.facts(), "validation_images": 500}
    )
    recipe = SimpleNamespace(links=() if name == "soft only" else ("a : mse",))
    planned = SimpleNamespace(row=SimpleNamespace(name=name), seed=seed, loaded=SimpleNamespace(recipe=recipe))
    return SimpleNamespace(planned=planned, result=result, failure="" if result else "it broke")


def test_sets_that_differ_by_chance_are_not_ranked() -> None:
    rows = {"soft only": (50.0, 53.0, 47.0), "proposed": (51.0, 52.0, 50.0), "one more": (49.0, 55.0, 48.0)}
    probes = ranked([outcome(name, seed, value) for name, values in rows.items() for seed, value in enumerate(values)])
    assert list(probes.sets) == ["proposed", "one more", "soft only"]
    assert probes.answer.startswith("“proposed” leads the short trainings. No row is marked as best: ")
    assert "may be chance" in probes.answer
    assert probes.table.best is None
    assert probes.table.rows[0][2].text == "51.00 ± 1.00"
    single = ranked([outcome("proposed", 0, 60.0), outcome("soft only", 0, 40.0)])
    assert "with a single seed each, a difference may be luck" in single.answer


def test_a_set_that_is_better_is_said_to_be() -> None:
    rows = {"soft only": (50.0, 50.4, 49.8, 50.2), "proposed": (60.1, 60.3, 59.7, 60.4)}
    probes = ranked([outcome(name, seed, value) for name, values in rows.items() for seed, value in enumerate(values)])
    assert probes.answer == (
        "“proposed” is best of the short trainings: 10.03 points ahead of “soft only” over 4 seeds."
    )
    assert probes.table.best == 0
    assert probes.data()["sets"][0]["validation"] == {"0": 60.1, "1": 60.3, "2": 59.7, "3": 60.4}


def test_failed_runs_are_named_and_not_counted() -> None:
    probes = ranked([outcome("proposed", 0, 60.0), outcome("one more", 0, None)])
    assert probes.failed == ("one more, seed 0: it broke",)
    assert list(probes.sets) == ["proposed"]
    with pytest.raises(UsageError, match=r"every probe failed\. The first: one more, seed 0: it broke"):
        ranked([outcome("one more", 0, None)])
