"""The sweep that tells what a student's start is worth: the same student, begun and taught in several ways.

    benchmarks/shrink_rows.py FITTED [COPIED] --epochs N [--scratch-lr LR]

FITTED and COPIED are folders that `layerlink shrink ... --start fit|copy --out FOLDER` wrote, of the same student;
COPIED is left out where no layer was collapsed, since the start is a copy then. Writes FITTED/rows.yaml, over
FITTED/recipe.yaml.

New weights may want another learning rate than trained ones: with LR there is a row from scratch that has it.

Rows get equal time, not equal epochs: a training step of each is timed here, the dearest row has N epochs, the others
as many as fit into its time. The number of epochs and the milliseconds stand in the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from layerlink.config.changes import Change
from layerlink.lab.bench.speed import measure_speed
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.setup.setup import set_up

ROUNDS = 4  # of timing, each row once in each; the shortest counts, since other work only adds
LABELS = {"soft": None, "hard.weight": 1.0}


def rows_of(copied: Path | None, scratch_lr: float | None) -> dict[str, dict[str, Any]]:
    """What each row changes in the recipe, which is: fitted or copied start, links, softened outputs."""
    scratch = {"student.weights": None}
    start = "fitted start" if copied else "copied start"
    quick = {} if scratch_lr is None else {f"scratch, lr {scratch_lr:g}": {"training.lr": scratch_lr}}
    rows: dict[str, dict[str, Any]] = {
        "scratch": {**scratch, **LABELS, "links": []},
        **{name: {**scratch, **LABELS, "links": [], **lr} for name, lr in quick.items()},
        "scratch + kd": {**scratch, "links": []},
        "scratch + links + kd": scratch,
        start: {**LABELS, "links": []},
        f"{start} + links": LABELS,
        f"{start} + kd": {"links": []},
        f"{start} + links + kd": {},
    }
    if copied:
        weights = {"student.weights": str(copied / "student.safetensors")}
        rows["copied start"] = {**weights, **LABELS, "links": []}
        rows["copied start + links + kd"] = weights
    return rows


def milliseconds(recipe: Path, changes: dict[str, Any]) -> float:
    """Of a training step."""
    made = [Change(tuple(name.split(".")), value, "row") for name, value in changes.items()]
    return measure_speed(set_up(load_recipe(str(recipe), changes=made))).step.median


def times_of(recipe: Path, rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of each row's step; rows that differ in their start or learning rate alone have one time."""
    same = "student.weights", "training.lr"
    terms = {name: {key: it for key, it in changes.items() if key not in same} for name, changes in rows.items()}
    different = {json.dumps(it): it for it in terms.values()}
    rounds = [{key: milliseconds(recipe, it) for key, it in different.items()} for _ in range(ROUNDS)]
    return {name: min(it[json.dumps(terms[name])] for it in rounds) for name in rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fitted", type=Path)
    parser.add_argument("copied", type=Path, nargs="?")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--scratch-lr", type=float)
    asked = parser.parse_args()
    rows = rows_of(asked.copied, asked.scratch_lr)
    times = times_of(asked.fitted / "recipe.yaml", rows)
    most = max(times.values())
    lines = [
        "title: A student's start",
        "question: Is a student that begins as its teacher better after equal time than one from scratch?",
        "base: recipe.yaml",
    ]
    for kind in ("baselines", "rows"):
        lines.append(f"{kind}:")
        for name, changes in rows.items():
            if name.startswith("scratch") == (kind == "baselines"):
                epochs = max(1, round(asked.epochs * most / times[name]))
                lines.append(f"  # {times[name]:.1f} ms a step")
                lines.append(f"  {name}: {json.dumps({**changes, 'training.epochs': epochs})}")
    (asked.fitted / "rows.yaml").write_text("\n".join([*lines, "seeds: 3", ""]))


if __name__ == "__main__":
    main()
