"""Teacher and students side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerlink.lab.report.measured.comparison import Measured, Measurements
from layerlink.lab.report.page.page import Cell, Table
from layerlink.lab.report.tables.table import ReportTable, number_cell


def models_table(measurements: Measurements) -> ReportTable:
    """Teacher and students: size, arithmetic, latency, what they answer."""
    models, score = [measurements.teacher, *measurements.students], measurements.score
    batches = [latency.batch for latency in measurements.teacher.latency]
    columns = (
        *("model", "parameters", f"MFLOP {measurements.each}", "weights, MB"),
        *(f"batch of {batch}, ms" for batch in batches),
        *(f"test {score.words}{f', {score.unit}' if score.unit else ''}", "as teacher, %"),
    )
    rows: tuple[tuple[str | int | Cell, ...], ...] = tuple(
        (
            f"{it.name} ({it.model})",
            it.parameters,
            Cell(f"{it.flops / 1e6:,.1f}", it.flops),
            Cell(f"{it.size / 1e6:,.2f}", it.size),
            *(Cell(f"{each.median:.3g} ({each.low:.3g} to {each.high:.3g})", each.median) for each in it.latency),
            number_cell(it.value, f"{{:.{score.digits}f}}"),
            number_cell(it.agreement, "{:.2f}"),
        )
        for it in models
    )
    note = (
        f"One run a model: each row's first seed. Latency: median and quartiles of {_passes(models)} forward passes "
        f"after a warm-up, on {measurements.conditions}. A multiplication and an addition are two FLOPs."
    )
    return ReportTable(
        "models",
        "Teacher against student",
        Table(columns, rows, note),
        tuple(_model_data(it, score.name) for it in models),
    )


def _passes(models: Sequence[Measured]) -> str:
    counts = [latency.passes for model in models for latency in model.latency]
    return f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])


def _model_data(it: Measured, score: str) -> dict[str, Any]:
    data: dict[str, Any] = {"name": it.name, "model": it.model, "parameters": it.parameters, "flops": it.flops}
    data |= {"weights_bytes": it.size, f"test_{score}": it.value, "agreement": it.agreement}
    for latency in it.latency:
        for name in ("median", "low", "high", "passes"):
            unit = "" if name == "passes" else "_ms"
            data[f"batch_{latency.batch}_{name}{unit}"] = getattr(latency, name)
    return data
