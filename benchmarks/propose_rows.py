"""The sweep that tells what proposed links are worth: proposed, hand-picked, random, the last alone, none.

    benchmarks/propose_rows.py FOLDER "LINK" "LINK" ...

FOLDER is what `layerlink propose ... --out FOLDER` wrote; the links are the hand-picked ones. Writes FOLDER/rows.yaml,
over FOLDER/recipe.yaml. Random sets have as many links as were proposed, between layers that are of some use and that
an adapter brings together, drawn with the seeds 0 to 4; loss, scale and adapter are those of proposed links, so that
rows differ in nothing but in which layers teach which.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from layerlink.design.propose.costs import fits

DRAWS = 5
USELESS = ("dead", "constant", "not finite")


def drawn(proposal: dict[str, Any], seed: int) -> list[str]:
    """As many random links as were proposed, no layer twice."""
    draw, count = random.Random(seed), len(proposal["links"])
    useless = {(it["side"], it["layer"]) for it in proposal["left_out"] if it["reason"] in USELESS}
    sides = [
        [layer for layer in proposal[f"{side}_layers"] if (side, layer["name"]) not in useless]
        for side in ("teacher", "student")
    ]
    while True:
        one, other = (draw.sample(side, count) for side in sides)
        if all(fits(student["shape"], teacher["shape"]) for teacher, student in zip(one, other, strict=True)):
            return [text(teacher, student) for teacher, student in zip(one, other, strict=True)]


def text(teacher: dict[str, Any], student: dict[str, Any]) -> str:
    """A link as `layerlink propose` writes it."""
    adapter = "" if teacher["shape"] == student["shape"] else ", adapter=auto"
    return f"{teacher['name']} -> {student['name']} : mse, scale=teacher{adapter}"


def main(folder: Path, hand_picked: list[str]) -> None:
    proposal = json.loads((folder / "proposal.json").read_text())
    links = proposal["links"]
    rows = {"proposed": links, "last link alone": links[-1:], "hand-picked": hand_picked}
    if sorted(hand_picked) == sorted(links):  # the same runs, bit by bit
        rows = {"proposed, as hand-picked": links, "last link alone": links[-1:]}
    rows |= {f"random {seed}": drawn(proposal, seed) for seed in range(DRAWS)}
    lines = [
        "title: Proposed links",
        "question: Do proposed links teach more than random ones, and as much as hand-picked ones?",
        "base: recipe.yaml",
        "baselines:",
        '  labels only: {"links": [], "soft": null, "hard.weight": 1.0}',
        '  soft only: {"links": []}',
        "rows:",
        *(f"  {name}: {json.dumps({'links': chosen})}" for name, chosen in rows.items()),
        "seeds: 3",
    ]
    (folder / "rows.yaml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
