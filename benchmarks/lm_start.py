"""How well a recipe's student tells its test texts before it is trained, and its teacher, as JSON.

python benchmarks/lm_start.py RESULT.json RECIPE key=value ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.reading.evaluation import read_test
from layerlink.lab.run.setup.setup import set_up


def main() -> None:
    to, recipe, *changes = sys.argv[1:]
    setup = set_up(load_recipe(recipe, changes))
    found = read_test(setup.distiller.student, setup)
    partial = Path(f"{to}.part")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(to)
    print(f"test perplexity before any training {found['test_perplexity']:,.2f}", end="")
    print(f", of the teacher {found['teacher_test_perplexity']:,.2f}")


if __name__ == "__main__":
    main()
