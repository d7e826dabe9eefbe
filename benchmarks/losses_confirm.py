#!/usr/bin/env python3
"""After the screening of losses: the ten best again, each at the published weight and at one that is searched for.

    python benchmarks/losses_confirm.py searches SCREENED OUT   # a file to search with, of each of the ten and of kd
    python benchmarks/losses_confirm.py sweep SCREENED OUT      # then: the sweep of both weights, with fresh seeds

SCREENED is the folder of the sweeps losses and losses-two-views; OUT gets NAME.yaml and, of every search, the folder
NAME. What is best is told by validation images alone. `benchmarks/losses_cpu.sh` runs all of it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

BEST = 10
FACTORS = (0.1, 0.3, 3.0, 10.0)  # on the published weight, which the screening itself has tried
FRESH_SEEDS = [1, 2, 3]
BASELINES = ("labels only", "kd")
SHIPPED = Path(__file__).parents[1] / "src/layerlink/lab/sweep/shipped/cifar"
SCREENING = SHIPPED / "losses.yaml"
TWO_VIEWS = SHIPPED / "losses-two-views.yaml"
yaml = YAML()
yaml.width = 1000
yaml.representer.ignore_aliases = lambda _: True


def scores(folder: Path) -> dict[str, float]:
    """Validation accuracy of every run below a folder, by its folder's name."""
    found = {}
    for result in sorted(folder.glob("*/result.json")):
        found[result.parent.name] = float(json.loads(result.read_text())["validation_accuracy"])
    return found


def rows(screened: Path) -> dict[str, tuple[dict[str, Any], float]]:
    """Of every finished row of the screening its changes and its validation accuracy; the baselines have one view."""
    apart = {name: changes for name, changes in rows_of(screened / TWO_VIEWS.stem).items() if name not in BASELINES}
    two = yaml.load(TWO_VIEWS.read_text())["set"]
    return rows_of(screened / SCREENING.stem) | {
        name: (two | changes, score) for name, (changes, score) in apart.items()
    }


def rows_of(sweep: Path) -> dict[str, tuple[dict[str, Any], float]]:
    """The same of one sweep, without what all its rows share."""
    if not (sweep / "sweep.json").exists():
        sys.exit(f"{sweep} holds no sweep: screen first")
    plan, known = json.loads((sweep / "sweep.json").read_text()), scores(sweep)
    each = [(row, next(iter(row["runs"].values()))) for row in plan["rows"]]
    return {row["name"]: (row["changes"], known[run]) for row, run in each if run in known}


def chosen(screened: Path) -> dict[str, dict[str, Any]]:
    """kd and the ten best others, with what each changes."""
    found = rows(screened)
    ranked = sorted((name for name in found if name not in BASELINES), key=lambda name: -found[name][1])
    return {name: found[name][0] for name in ("kd", *ranked[:BEST])}


def times(changes: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same with all weights of what the teacher gives multiplied."""
    found = {key: changes[key] for key in ("soft", "links") if changes.get(key)}
    if "soft" in found:
        found["soft"] = {**found["soft"], "weight": float(f"{found['soft']['weight'] * factor:g}")}
    if "links" in found:
        found["links"] = [link_times(link, factor) for link in found["links"]]
    return found


def link_times(link: str, factor: float) -> str:
    """A link's text with its weight multiplied; a weight stands after the loss's options and before the link's own."""
    head, comma, rest = link.partition(",") if "(" not in link else _after_brackets(link)
    found = re.fullmatch(r"(.*\S)\s*\*\s*([\d.e-]+)\s*", head)
    loss, weight = (found[1], float(found[2])) if found else (head.rstrip(), 1.0)
    return f"{loss} * {weight * factor:g}{comma}{rest}"


def _after_brackets(link: str) -> tuple[str, str, str]:
    depth = 0
    for place, letter in enumerate(link):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            return link[:place], ",", link[place + 1 :]
    return link, "", ""


def file_name(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def write_searches(screened: Path, out: Path) -> None:
    asked = yaml.load(SCREENING.read_text())
    for name, changes in chosen(screened).items():
        field = "links" if changes.get("links") else "soft"
        search = {
            "title": f"The weight of {name}",
            "base": asked["base"],
            "set": {**asked["set"], **changes},
            "space": {field: [times(changes, factor)[field] for factor in FACTORS]},
            "trials": len(FACTORS),  # no recipe is tried twice
            "prune": False,
        }
        write(out / f"{file_name(name)}.yaml", search)


def write_sweep(screened: Path, out: Path) -> None:
    both: dict[str, dict[str, Any]] = {}
    known = rows(screened)
    for name, changes in chosen(screened).items():
        found = scores(out / file_name(name))
        best = max(found, key=lambda run: found[run]) if found else None
        both[name] = changes
        if best is None or found[best] <= known[name][1]:
            print(f"{name}: the published weight is the best of {1 + len(found)} that were tried")
            continue
        recipe = yaml.load((out / file_name(name) / best / "recipe.yaml").read_text())
        field = "links" if changes.get("links") else "soft"
        both[f"{name}, weight searched"] = {**changes, field: json.loads(json.dumps(recipe[field]))}
    asked = yaml.load(SCREENING.read_text())
    sweep = {
        "title": f"The {BEST} best of the screening, confirmed",
        "question": "Which losses beat KD?",
        "base": asked["base"],
        "set": asked["set"],
        "baselines": {"labels only": {}, "kd": both.pop("kd")},
        "rows": both,
        "seeds": FRESH_SEEDS,
    }
    write(out / "confirm.yaml", sweep)


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        yaml.dump(content, file)
    print(path)


if __name__ == "__main__":
    {"searches": write_searches, "sweep": write_sweep}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
