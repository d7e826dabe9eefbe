"""The quickstart: one teacher, three students of the same shape and seed, one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.report.page.curves import Curve, curve_chart
from layerlink.lab.report.page.page import Cell, Table, write_page
from layerlink.lab.run.evaluation import predict_test
from layerlink.lab.run.folder import RunFolder, is_term
from layerlink.lab.run.interruption import several_trainings, stop_before_the_next
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch
from layerlink.tasks.classification import percent_equal

TEACHER = "digits/teacher"
STUDENTS = {
    "labels only": "digits/hard",
    "+ soft": "digits/soft",
    "+ soft and links": "digits/links",
}


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Args:
        columns: of the table.
        rows: one a model.
        answer: one sentence that sums them up.
        page: the HTML page.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    answer: str
    page: Path


def compare(out: Path, *, seed: int, watch: Watch) -> Comparison:
    """Train the teacher and the three students in ``out`` and write ``out/index.html``.

    Runs that are finished already are read, not repeated; an interrupted one goes on.

    Raises:
        UsageError: where ``out`` holds runs of another seed or recipe.
        Interrupted: where the user asked to stop. The same call goes on.
    """
    teacher = RunFolder(out / "teacher")
    runs = {"teacher": teacher}
    with several_trainings(out):
        for name, recipe in (("teacher", TEACHER), *STUDENTS.items()):
            stop_before_the_next()
            run = runs.setdefault(name, RunFolder(out / recipe.rpartition("/")[2]))
            loaded = load_recipe(recipe, [f"seed={seed}"])
            if loaded.recipe.teacher is not None:
                loaded = load_recipe(recipe, [f"seed={seed}", f"teacher.weights={teacher.path}"])
            train(set_up(loaded), run, watch=watch, resume=True)
    results = {name: run.read_result() for name, run in runs.items()}
    answers = {name: predict_test(run) for name, run in runs.items()}
    for name in STUDENTS:
        results[name]["agreement"] = percent_equal(answers[name], answers["teacher"])
    page = out / "index.html"
    comparison = _tabulate(results, page)
    _write_page(comparison, runs, seed)
    return comparison


def _tabulate(results: dict[str, dict[str, Any]], page: Path) -> Comparison:
    columns = ("model", "test accuracy", "parameters", "training time", "agrees with teacher")
    rows = tuple(
        (
            Cell(name),
            Cell(f"{result['test_accuracy']:.1f} %", result["test_accuracy"]),
            Cell(f"{result['parameters']:,}", result["parameters"]),
            Cell(f"{result['train_seconds']:.1f} s", result["train_seconds"]),
            Cell(f"{result['agreement']:.1f} %", result["agreement"]) if "agreement" in result else Cell("-"),
        )
        for name, result in results.items()
    )
    best = max(STUDENTS, key=lambda name: float(results[name]["test_accuracy"]))
    teacher, student = results["teacher"], results[best]
    answer = (
        f"Best of three students with {student['train_images']} training images: “{best}”, "
        f"{student['test_accuracy']:.1f} % of {student['test_images']} unseen digits, with "
        f"{teacher['parameters'] / student['parameters']:.1f} times fewer parameters than the teacher "
        f"({teacher['test_accuracy']:.1f} %, from {teacher['train_images']:,} images). One seed: a difference of a "
        "point or two is luck."
    )
    return Comparison(columns, rows, answer, page)


def _write_page(comparison: Comparison, runs: dict[str, RunFolder], seed: int) -> None:
    metrics = {name: run.read_metrics() for name, run in runs.items()}
    terms = dict.fromkeys(name for rows in metrics.values() for name in rows[0] if is_term(name))
    charts = [
        (
            "Validation accuracy",
            curve_chart(
                _curves(metrics, "validation_accuracy", "%"),
                title="Validation accuracy",
                y_title="accuracy in %",
                runs=list(runs),
            ),
        )
    ]
    charts += [
        (
            f"Term: {term}",
            curve_chart(_curves(metrics, term), title=term, y_title="raw loss, training images", runs=list(runs)),
        )
        for term in terms
    ]
    environment = runs["teacher"].read_environment()
    write_page(
        comparison.page,
        title="layerlink quickstart: one teacher, three students",
        answer=comparison.answer,
        tables=[("Models", Table(comparison.columns, comparison.rows, "Seed " + str(seed) + "; n = 1 run a row."))],
        charts=charts,
        provenance=[
            ("repeat", f"layerlink quickstart --seed {seed}"),
            *((name, f"layerlink check {run.recipe}") for name, run in runs.items()),
            ("data", "digits: scikit-learn's 1,797 scans, scaled to 32x32"),
            *((key, _words(value)) for key, value in environment.items() if key != "command"),
        ],
    )


def _curves(metrics: dict[str, list[dict[str, str]]], quantity: str, unit: str = "") -> list[Curve]:
    return [
        Curve(name, quantity, tuple(float(row[quantity]) for row in rows), unit)
        for name, rows in metrics.items()
        if quantity in rows[0]
    ]


def _words(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
