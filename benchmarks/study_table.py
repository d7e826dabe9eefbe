"""Print the table of finished runs in a folder as Markdown: mean, standard deviation and n over seeds.

python benchmarks/study_table.py runs/study
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f} (one seed)"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main(folder: Path) -> None:
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for result in sorted(folder.glob("*/result.json")):
        groups[result.parent.name.rpartition("-")[0]].append(json.loads(result.read_text()))
    print("| run | n | test accuracy % | validation % | agrees with teacher % | parameters | training s |")
    print("|---|---|---|---|---|---|---|")
    for name, results in groups.items():
        columns = [spread([result[key] for result in results]) for key in ("test_accuracy", "validation_accuracy")]
        agreement = [result["agreement"] for result in results if "agreement" in result]
        seconds = statistics.mean(result["train_seconds"] for result in results)
        print(
            f"| {name} | {len(results)} | {columns[0]} | {columns[1]} | {spread(agreement) if agreement else '-'} | "
            f"{results[0]['parameters']:,} | {seconds:,.0f} |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
