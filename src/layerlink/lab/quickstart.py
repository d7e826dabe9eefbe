"""The quickstart: one teacher, three students of the same shape and seed, one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.lab.charts import Curve, curve_chart
from layerlink.lab.machine import choose_device
from layerlink.lab.page import Table, write_page
from layerlink.lab.recipe_file import load_recipe
from layerlink.lab.run_folder import NOT_TERMS, RunFolder
from layerlink.lab.setup import Images, load_images, set_up
from layerlink.lab.training import Watch, train

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
        rows: one a model, in words.
        answer: one sentence that sums them up.
        page: the HTML page.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    answer: str
    page: Path


def compare(out: Path, *, seed: int, watch: Watch) -> Comparison:
    """Train the teacher and the three students in ``out`` and write ``out/index.html``.

    Runs that are finished already are read, not repeated; an interrupted one goes on.

    Raises:
        UsageError: where ``out`` holds runs of another seed or recipe.
    """
    teacher = RunFolder(out / "teacher")
    runs = {"teacher": teacher}
    images: Images | None = None
    for name, recipe in (("teacher", TEACHER), *STUDENTS.items()):
        run = runs.setdefault(name, RunFolder(out / recipe.rpartition("/")[2]))
        overrides = [f"seed={seed}", *([] if name == "teacher" else [f"teacher.weights={teacher.path}"])]
        loaded = load_recipe(recipe, overrides)
        images = images or load_images(loaded.recipe, choose_device(loaded.recipe.device))
        train(set_up(loaded, images=images), run, watch=watch, resume=True)
    results = {name: run.read_result() for name, run in runs.items()}
    page = out / "index.html"
    comparison = _tabulate(results, page)
    _write_page(comparison, runs, seed)
    return comparison


def _tabulate(results: dict[str, dict[str, Any]], page: Path) -> Comparison:
    columns = ("model", "test accuracy", "parameters", "training time", "agrees with teacher")
    rows = tuple(
        (
            name,
            f"{result['test_accuracy']:.1f} %",
            f"{result['parameters']:,}",
            f"{result['train_seconds']:.1f} s",
            f"{result['agreement']:.1f} %" if "agreement" in result else "-",
        )
        for name, result in results.items()
    )
    best = max(STUDENTS, key=lambda name: float(results[name]["test_accuracy"]))
    teacher, student = results["teacher"], results[best]
    answer = (
        f"The student taught by “{best}” reads {student['test_accuracy']:.1f} % of {student['test_images']} unseen "
        f"digits right, with {teacher['parameters'] / student['parameters']:.1f} times fewer parameters than its "
        f"teacher ({teacher['test_accuracy']:.1f} %). One seed: differences of a point or two are luck."
    )
    return Comparison(columns, rows, answer, page)


def _write_page(comparison: Comparison, runs: dict[str, RunFolder], seed: int) -> None:
    metrics = {name: run.read_metrics() for name, run in runs.items()}
    terms = dict.fromkeys(name for rows in metrics.values() for name in rows[0] if name not in NOT_TERMS)
    charts = [
        (
            "Validation accuracy",
            curve_chart(
                _curves(metrics, "validation_accuracy", "%"), title="Validation accuracy", y_title="accuracy in %"
            ),
        )
    ]
    charts += [
        (f"Term: {term}", curve_chart(_curves(metrics, term), title=term, y_title="raw loss on training images"))
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
            *((key, str(value)) for key, value in environment.items() if key != "command"),
        ],
    )


def _curves(metrics: dict[str, list[dict[str, str]]], quantity: str, unit: str = "") -> list[Curve]:
    return [
        Curve(name, quantity, tuple(float(row[quantity]) for row in rows), unit)
        for name, rows in metrics.items()
        if quantity in rows[0]
    ]
