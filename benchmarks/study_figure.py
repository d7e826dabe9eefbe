"""Draw the validation accuracy of finished study runs, mean over seeds, as SVG.

python benchmarks/study_figure.py runs/study docs/results/validation.svg
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from layerlink.lab.report.page.charts import to_svg
from layerlink.lab.report.page.curves import Curve, curve_chart
from layerlink.lab.run.folder import RunFolder

NAMES = {
    "vgg7-hard": "labels only",
    "vgg7-soft": "+ soft",
    "vgg7-links": "+ soft and links 2-5",
    "vgg16": "teacher VGG-16",
}


def main(folder: Path, target: Path) -> None:
    curves, counts = [], {}
    for prefix, name in NAMES.items():
        runs = [RunFolder(path.parent) for path in sorted(folder.glob(f"{prefix}-*/result.json"))]
        epochs = zip(*(run.read_metrics() for run in runs), strict=True)
        values = tuple(statistics.mean(float(row["validation_accuracy"]) for row in rows) for rows in epochs)
        curves.append(Curve(name, "validation accuracy", values, "%"))
        counts[name] = len(runs)
    students = {count for name, count in counts.items() if name != NAMES["vgg16"]}
    title = f"VGG-7 on CIFAR-10, 32x32, 20,000 training images; mean of {min(students)} seed(s), teacher 1"
    chart = curve_chart(curves, title=title, y_title="validation accuracy in %")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(to_svg(chart), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
