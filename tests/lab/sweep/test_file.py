from __future__ import annotations

from pathlib import Path

import pytest
import torch

import layerlink as ll
from layerlink.config.shipped import shipped
from layerlink.errors import ProblemsError, UsageError
from layerlink.lab.sweep.file import Plan, load_sweep
from layerlink.lab.sweep.running import cohorts
from layerlink.models import build_model

CIFAR100_PAIRS = [name for name in shipped("sweep") if name.startswith("cifar100/")]
BASE = """\
data: {name: digits}
teacher: {model: vgg16, weights: somewhere}
student: vgg7
soft: {temperature: 2}
"""


def plan(folder: Path, text: str, *overrides: str) -> Plan:
    (folder / "base.yaml").write_text(BASE)
    (folder / "mine.yaml").write_text(text)
    return load_sweep(str(folder / "mine.yaml"), overrides, out=folder / "out")


def names(of: Plan) -> list[str]:
    return list(dict.fromkeys(run.row.name for run in of.runs))


def test_axes_make_every_combination_and_baselines_stand_outside(tmp_path: Path) -> None:
    text = """\
base: base.yaml
baselines: {labels: {soft: null}}
axes: {soft.temperature: [1, 2.5], training.lr: [0.1, 0.01]}
seeds: 2
"""
    found = plan(tmp_path, text)
    assert names(found) == [
        "labels",
        "temperature=1, lr=0.1",
        "temperature=1, lr=0.01",
        "temperature=2.5, lr=0.1",
        "temperature=2.5, lr=0.01",
    ]
    assert [run.seed for run in found.runs] == [0] * 5 + [1] * 5
    last = found.runs[-1]
    assert (last.loaded.recipe.soft.temperature, last.loaded.recipe.training.lr) == (2.5, 0.01)  # type: ignore[union-attr]
    assert found.runs[0].loaded.recipe.soft is None
    assert found.runs[0].row.baseline
    assert last.folder == tmp_path / "out" / "temperature=2.5-lr=0.01-1"


@pytest.mark.parametrize(
    "place", ["axes: {seed: [1, 2]}", "rows: {x: {seed: 1}}", "baselines: {x: {seed: 1}}", "set: {seed: 1}"]
)
def test_a_seed_among_the_changes_would_be_no_seed(place: str, tmp_path: Path) -> None:
    rest = "" if place.startswith("axes") else "axes: {soft.temperature: [1, 2]}\n"
    with pytest.raises(ProblemsError, match="every row has every seed, so seed cannot be set here; write seeds:"):
        plan(tmp_path, f"base: base.yaml\n{rest}{place}\n")


def test_named_rows_are_combined_with_axes(tmp_path: Path) -> None:
    text = """\
base: base.yaml
rows:
  one: {links: ["group3 : mse"]}
  two: {links: ["group2 : mse", "group3 : mse"]}
axes: {training.epochs: [1, 2]}
"""
    found = plan(tmp_path, text)
    assert names(found) == ["one, epochs=1", "one, epochs=2", "two, epochs=1", "two, epochs=2"]
    assert len(found.runs[2].loaded.recipe.links) == 2


def test_axes_with_the_same_last_part_are_named_in_full_and_lists_by_place(tmp_path: Path) -> None:
    text = """\
base: base.yaml
axes: {student.model: [vgg7, vgg16], teacher.model: [vgg16], links: [[], ["group3 : mse"]]}
"""
    assert names(plan(tmp_path, text))[1] == "student.model=vgg7, teacher.model=vgg16, links=#2"


def test_values_on_the_command_line_reach_sweep_or_runs(tmp_path: Path) -> None:
    text = "base: base.yaml\naxes: {soft.temperature: [1, 2]}\n"
    found = plan(tmp_path, text, "axes.soft.temperature=[3]", "seeds=[5]", "training.epochs=7", "set.training.lr=0.5")
    (run,) = found.runs
    training = run.loaded.recipe.training
    assert (run.row.name, run.seed, training.epochs, training.lr) == ("temperature=3", 5, 7, 0.5)


def test_the_teacher_is_trained_on_the_same_data_and_given_to_the_runs(tmp_path: Path) -> None:
    text = """\
base: base.yaml
train_teacher: {recipe: study/vgg16, set: {training.epochs: 3, student.arguments.width: 0.5}}
set: {data.train_images: 500}
baselines: {labels: {soft: null, teacher: null}}
rows: {soft: {}}
"""
    found = plan(tmp_path, text, "data.root=/images", "training.epochs=9")
    assert found.family.teacher is not None
    teacher = found.family.teacher.recipe
    assert (teacher.data.train_images, teacher.data.root, teacher.training.epochs) == (500, Path("/images"), 3)
    labels, soft = (run.loaded.recipe for run in found.runs)
    assert labels.teacher is None
    assert soft.teacher is not None
    assert soft.teacher.weights == tmp_path / "out" / "teacher"
    assert soft.teacher.arguments == {"width": 0.5}
    assert soft.training.epochs == 9


def test_a_given_teacher_takes_the_place_of_the_trained_one(tmp_path: Path) -> None:
    text = "base: base.yaml\ntrain_teacher: {recipe: study/vgg16}\nrows: {soft: {}}\n"
    found = plan(tmp_path, text, "teacher.weights=mine")
    assert found.family.teacher is None
    assert found.runs[0].loaded.recipe.teacher.weights == Path("mine")  # type: ignore[union-attr]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = """\
base: base.yaml
train_teacher: {recipe: study/vgg16, set: {training.epocs: 3}}
rows:
  one: {soft.temprature: 1}
  two: {links: ["group3 mse"]}
axes: {training.lr: [0.1]}
"""
    with pytest.raises(ProblemsError) as caught:
        plan(tmp_path, text, "training.lr=3", "seed=4", "oops")
    told = str(caught.value)
    assert "Did you mean soft.temperature" in told
    assert "row 'one" in told
    assert 'expected "TEACHER -> STUDENT' in told
    assert "change axes.training.lr in its place" in told
    assert "change seeds in its place" in told
    assert "expected key=value" in told
    assert "teacher study/vgg16" in told or "train_teacher" in told
    assert "Did you mean training.epochs" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: base.yaml\n", "nothing to run"),
        ("base: base.yaml\nrows: {a: {}}\nseeds: [1, 1]\n", "must be different numbers"),
        ("base: base.yaml\nrows: {a: {}}\nseeds: 0\n", "seeds"),
        ("base: base.yaml\naxes: {seed: []}\n", "seed has no values"),
        ("base: base.yaml\naxes: {training.lr: [1, 1]}\n", "training.lr has a value twice"),
        ("base: base.yaml\nrows: {a b: {}, a-b: {}}\n", "or nearly so"),
        ("base: base.yaml\nrow: {a: {}}\n", "unknown field. Did you mean rows"),
        ("base: base.yaml\nrows: {a: {}}\npublished: {source: x, test_accuracy: {b: 1}}\n", "'b', which is no row"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match=message):
        plan(tmp_path, text)


def test_a_base_or_a_sweep_that_is_not_there_is_answered_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="study/table2"):
        load_sweep("study/tabel2")
    with pytest.raises(UsageError, match="study/vgg7-soft"):
        plan(tmp_path, "base: study/vgg7-sofd\nrows: {a: {}}\n")


@pytest.mark.parametrize("name", shipped("sweep"))
def test_shipped_sweeps_load(name: str) -> None:
    found = load_sweep(name)
    assert (found.family.teacher is None) == name.startswith(("cifar/", "text/"))  # whose teacher is a file, a run
    size = (96, 128) if name.startswith("camvid/") else 224 if name.endswith("-224") else 32
    assert {run.loaded.recipe.data.image_size for run in found.runs} == {size}
    assert found.family.teacher is None or found.family.teacher.recipe.data.image_size == size


@pytest.mark.parametrize("name", CIFAR100_PAIRS)
def test_the_methods_of_a_cifar100_pair_are_one_cohort_each_at_its_published_weight(name: str) -> None:
    found = load_sweep(name)
    assert len(list(cohorts(found.runs))) == 1
    assert found.sweep.published is not None
    without_figure = {"OFD", "DIST"} if "vgg" in name else {"OFD"}  # every other row stands beside its published figure
    assert set(names(found)) - set(found.sweep.published.test_accuracy) == without_figure
    weights = {run.row.name: {link.weight for link in run.loaded.recipe.whole_links} for run in found.runs}
    assert weights.pop("AB") in ({0.125, 0.25, 0.5, 1}, {0.25, 0.5, 1})  # half at each level before
    assert weights.pop("OFD") in ({0.000125, 0.00025, 0.0005, 0.001}, {0.00025, 0.0005, 0.001})
    assert weights == {
        "labels only": set(),
        "KD": set(),
        "FitNets": {100},
        "AT": {1000},
        "SP": {3000},
        "VID": {1},
        "CC": {0.02},
        "RKD": {1},
        "PKT": {30000},
        "FT": {200},
        "NST": {50},
        "logit standardisation": {9},
        "DIST": {2},
        "CRD": {0.8},
        "DKD": {1},
        "ReviewKD": {5},
    }
    for run in found.runs:
        recipe, kd = run.loaded.recipe, run.row.name == "KD"
        of_labels = 0.1 if run.row.name in ("KD", "logit standardisation") else 1
        assert (recipe.hard.weight, recipe.soft is not None) == (of_labels, kd)
    assert found.family.teacher is not None
    for recipe in (found.family.teacher.recipe, *(run.loaded.recipe for run in found.runs)):
        training = recipe.training
        late = 30 if recipe.hard.start else 0  # AB learns from layers alone first
        milestones = tuple(epoch + late for epoch in (150, 180, 210))
        assert (training.epochs, training.milestones, training.step_factor) == (240 + late, milestones, 0.1)
        assert (training.batch_size, training.lr, training.momentum, training.nesterov) == (64, 0.05, 0.9, False)
        assert (training.weight_decay, training.keep, recipe.data.augment) == (5e-4, "last", "crop-flip")


@pytest.mark.parametrize("name", CIFAR100_PAIRS)
def test_every_method_of_a_cifar100_pair_can_learn(name: str) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    for run in load_sweep(name).runs:
        recipe = run.loaded.recipe
        assert recipe.teacher is not None
        teacher, student = (
            build_model(model, num_classes=100, width=0.1) for model in (recipe.teacher.model, recipe.student.model)
        )
        distiller = ll.Distiller(
            teacher,
            student,
            hard=recipe.hard.build(),
            soft=recipe.soft.build() if recipe.soft else None,
            links=recipe.whole_links,
            example=images[:2],
            facts=ll.Facts(train_size=100, num_classes=100),
        )
        distiller.at(100, recipe.training.epochs)
        losses = distiller(images, labels, indices=torch.arange(8))
        timed = sum(
            link.schedule.weight_at(1.0, 100, recipe.training.epochs) is not None for link in recipe.whole_links
        )
        assert len(losses.terms) == timed + 1 + (recipe.soft is not None)
        losses.total.backward()
        for path, parameter in distiller.named_parameters():
            if run.row.name == "FT" and (".paraphraser." in path or ".decoder." in path):  # have learned by then
                continue
            assert parameter.grad is not None, f"{run.row.name}: {path}"
            assert bool(parameter.grad.isfinite().all()), f"{run.row.name}: {path}"


def test_the_studys_tables_are_whole() -> None:
    table2, table3 = load_sweep("study/table2"), load_sweep("study/table3")
    assert [run.loaded.recipe.soft.temperature for run in table2.runs[1:10]] == [0.6, 1, 1.5, 2, 2.5, 3, 5, 10, 40]  # type: ignore[union-attr]
    assert len(names(table3)) == 2 + 7
    assert len(names(load_sweep("study/links"))) == 2 + 6 + 5 + 1


def test_a_row_whose_runs_could_have_no_folder_is_told(tmp_path: Path) -> None:
    name = "ä" * 130
    (tmp_path / "sweep.yaml").write_text(f"base: digits/hard\nrows: {{{name}: {{}}}}\n")
    with pytest.raises(ProblemsError, match=r"its runs have no folder: a name of 262 bytes is too long"):
        load_sweep(str(tmp_path / "sweep.yaml"))
