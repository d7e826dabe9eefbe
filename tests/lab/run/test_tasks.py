"""Recipes of other tasks than classification: trained, selected, evaluated, verified and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import matthews_corrcoef

from answers import answers_to_the_test
from layerlink.errors import ProblemsError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.report.building import write_report
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.images import load_images
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

TASKS = {
    "multi-label": (4, False, "map"),
    "segmentation": (2, True, "miou"),
    "regression": (1, False, "mae"),
}


def recipe(folder: Path, task: str, *overrides: str, teacher: str = "") -> LoadedRecipe:
    outputs, maps, _ = TASKS[task]
    text = f"""
task: {task}
data: {{name: "other_tasks:of", arguments: {{task: {task}}}, image_size: 8, validation: 20}}
{teacher}
student: {{model: "other_tasks:net", arguments: {{outputs: {outputs}, width: 4, maps: {str(maps).lower()}}}}}
training: {{epochs: 2, batch_size: 20, lr: {0.002 if task == "regression" else 0.02}, schedule: constant}}
precision: float32
"""
    file = folder / f"{task}.yaml"
    file.write_text(text)
    return load_recipe(str(file), overrides)


def taught(folder: Path, task: str) -> str:
    """The teacher's section, and what it teaches."""
    outputs, maps, _ = TASKS[task]
    arguments = f"{{outputs: {outputs}, width: 8, maps: {str(maps).lower()}}}"
    return (
        f'teacher: {{model: "other_tasks:net", arguments: {arguments}, weights: {folder}}}\n'
        f'soft: {{temperature: 2}}\nlinks: ["second : mse, adapter=conv1x1"]'
    )


@pytest.mark.parametrize("task", TASKS)
def test_a_task_goes_the_whole_way(task: str, tmp_path: Path) -> None:
    score = TASKS[task][2]
    teacher = RunFolder(tmp_path / "teacher")
    train(set_up(recipe(tmp_path, task, "student.arguments.width=8", "training.epochs=4")), teacher)
    runs = []
    for seed in (0, 1):
        loaded = recipe(tmp_path, task, f"seed={seed}", teacher=taught(teacher.path, task))
        runs.append(RunFolder(tmp_path / "runs" / f"student-{seed}"))
        result = train(set_up(loaded), runs[-1])
    assert result["task"] == task
    assert result["score"]["name"] == score
    assert {f"test_{score}", f"validation_{score}", f"teacher_test_{score}"} <= result.keys()
    assert "test_accuracy" not in result
    rows = runs[0].read_metrics()
    better = [float(row[f"validation_{score}"]) for row in rows]
    best = min(better) if score == "mae" else max(better)
    assert json.loads(runs[0].result.read_text())[f"validation_{score}"] == pytest.approx(best)
    again = evaluate_run(runs[0])
    assert again[f"test_{score}"] == again[f"recorded_test_{score}"]
    assert ("agreement" in again) == (task != "regression")
    assert verify_run(runs[0]).holds
    report = write_report([tmp_path / "runs"], measure=1)
    words = result["score"]["words"]
    assert f"has a {words} of" in report.answer
    assert "accuracy" not in report.answer
    page = (tmp_path / "runs" / "report" / "report.md").read_text()
    assert f"test {words}" in page
    assert not report.left_out
    results = (tmp_path / "runs" / "report" / "tables" / "results.csv").read_text()
    assert f"test_{score}_mean" in results


def test_what_is_worse_is_not_kept_where_less_is_better(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    result = train(set_up(recipe(tmp_path, "regression", "training.epochs=6", "training.lr=0.004")), run)
    errors = [float(row["validation_mae"]) for row in run.read_metrics()]
    assert result["epoch"] == errors.index(min(errors)) + 1
    assert all("train_mae" in row for row in run.read_metrics())


def test_runs_of_two_tasks_are_not_one_report(tmp_path: Path) -> None:
    for task in ("regression", "multi-label"):
        train(set_up(recipe(tmp_path, task, "training.epochs=1")), RunFolder(tmp_path / "runs" / task))
    with pytest.raises(Exception, match="of different tasks, by mean a"):
        write_report([tmp_path / "runs"])


@pytest.mark.parametrize(
    ("task", "overrides", "message"),
    [
        ("multi-label", ("task=classification",), "Yes or no of several labels is the task multi-label"),
        ("regression", ("task=classification",), "Numbers are the task regression"),
        ("segmentation", ("task=classification",), "Maps of labels are the task segmentation"),
        (
            "multi-label",
            ("student.arguments.outputs=3",),
            "must give logits (N, 4) for the data's 4 labels; got (N, 3)",
        ),
        ("segmentation", ("task.arguments={ignore: null}",), "labels must lie in 0..1"),
        ("segmentation", ("task.arguments={ignored: 3}",), "unexpected keyword argument 'ignored'"),
        ("segmentation", ("task=segmentatoin",), "Did you mean segmentation"),
        ("regression", ("data.arguments={tsak: 1}",), "unexpected keyword argument 'tsak'"),
        (
            "regression",
            ("data.name=other_tasks:squares", "data.arguments={count: 3, seed: 1}"),
            "must give a layerlink.data.Source",
        ),
        ("regression", ("data.name=digits",), "data.arguments are of a callable of your own; digits takes none"),
        ("regression", ("data.labelled=900",), "labelled must be at most the 100 training images"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(
    task: str, overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ProblemsError) as caught:
        set_up(recipe(tmp_path, task, *overrides))
    assert message in str(caught.value)


def test_maps_of_labels_are_cropped_and_flipped_as_their_images_are(tmp_path: Path) -> None:
    setup = set_up(recipe(tmp_path, "segmentation", "data.augment=crop-flip", "data.crop_padding=2"))
    moved = 0
    for batch in setup.batches.epoch(0):
        pixels = batch.images[:, 0]
        there = batch.labels < 2
        assert float(pixels[there & (batch.labels == 1)].min()) > float(pixels[there & (batch.labels == 0)].max())
        moved += int((batch.labels == 255).sum() != 4 * len(batch.labels))
    assert moved  # what a shift brings in is ignored


@pytest.mark.parametrize("task", TASKS)
def test_few_labels_are_spread_and_the_rest_is_learnt_from_the_teacher(task: str, tmp_path: Path) -> None:
    setup = set_up(recipe(tmp_path, task, "data.labelled=10"))
    labels = setup.images.train.labels
    unknown = labels.isnan() if labels.is_floating_point() and task == "regression" else labels == setup.task.no_label
    assert int((~unknown.flatten(1).all(1) if labels.ndim > 1 else ~unknown).sum()) == 10
    result = train(setup, RunFolder(tmp_path / "run"))
    assert result["train_images"] == 100


def test_few_labels_of_classes(tmp_path: Path) -> None:
    text = """
data: {name: digits, image_size: 32, labelled: 30, validation: 100, train_images: 400}
student: {model: vgg7, arguments: {width: 0.1}}
training: {epochs: 1, batch_size: 100}
precision: float32
"""
    file = tmp_path / "digits.yaml"
    file.write_text(text)
    setup = set_up(load_recipe(str(file)))
    labels = setup.images.train.labels
    assert torch.bincount(labels[labels >= 0], minlength=10).tolist() == [3] * 10
    assert int((labels == -1).sum()) == 370
    more = set_up(load_recipe(str(file), ["data.labelled=60"])).images.train.labels
    assert bool((more[labels >= 0] == labels[labels >= 0]).all())  # the same ones, and others
    run = RunFolder(tmp_path / "run")
    train(setup, run)
    assert 0 <= float(run.read_metrics()[0]["train_accuracy"]) <= 100  # of those with a label
    assert run.read_data()["labelled"] == 30


def teachers_output(kind: str) -> Any:
    """What a teacher that teaches through links alone may give."""
    from torch import nn

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(1, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> Any:
            given = self.body(x)
            return {
                "map": given,
                "dictionary": {"features": given},
                "none": None,
                "thousand": given.mean((2, 3)).repeat(1, 250),
            }[kind]

    return Backbone()


@pytest.mark.parametrize("kind", ["map", "dictionary", "none", "thousand"])
def test_a_teacher_without_a_classifier_teaches_through_links(kind: str, tmp_path: Path) -> None:
    text = f"""
data: {{name: digits, image_size: 32, train_images: 200}}
teacher: {{model: "test_tasks:teachers_output", arguments: {{kind: {kind}}}, weights: teacher.safetensors}}
student: {{model: vgg7, arguments: {{width: 0.1}}}}
links: ["body -> group1 : at"]
training: {{epochs: 1, batch_size: 100}}
precision: float32
"""
    file = tmp_path / "r.yaml"
    file.write_text(text)
    setup = set_up(load_recipe(str(file)), teacher=teachers_output(kind))
    assert not setup.teacher_answers
    result = train(setup, RunFolder(tmp_path / "runs" / "student-0"))
    assert "test_accuracy" in result
    assert not [name for name in result if name.startswith("teacher") or name == "agreement"]
    with pytest.raises(ProblemsError, match="teacher"):
        set_up(load_recipe(str(file), ["soft={temperature: 2}"]), teacher=teachers_output(kind))


def test_a_metric_of_another_package_selects(tmp_path: Path) -> None:
    file = tmp_path / "metric.yaml"
    file.write_text(
        "task: other_tasks:by_matthews\ndata: {name: digits, image_size: 8, train_images: 200, validation: 100}\n"
        'student: {model: "peoples_models:plain", arguments: {width: 8}}\n'
        "training: {epochs: 2, batch_size: 50, lr: 0.05}\nprecision: float32\n"
    )
    run = RunFolder(tmp_path / "run")
    result = train(set_up(load_recipe(str(file))), run)
    assert result["score"]["name"] == "matthews"
    found = evaluate_run(run)
    assert found["test_matthews"] == result["test_matthews"]
    labels = load_images(load_recipe(str(file)).recipe, torch.device("cpu")).test.labels
    assert result["test_matthews"] == pytest.approx(matthews_corrcoef(labels, answers_to_the_test(run)), abs=1e-6)
    assert result["test_accuracy"] == pytest.approx(100 * float((labels == answers_to_the_test(run)).double().mean()))
    write_report([run.path], tmp_path / "report", measure=0)
    assert "test matthews" in (tmp_path / "report" / "report.md").read_text()
