"""What learnt beside the rows' students."""

from __future__ import annotations

from typing import Any

from layerlink.lab.report.chance.spread import spread_of
from layerlink.lab.report.gather.records import is_number
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.page.page import Table
from layerlink.lab.report.tables.table import ReportTable, number_cell, spread_cell


def peers_table(gathered: Gathered) -> ReportTable | None:
    """A line a peer of every row; None where nothing learnt beside a student."""
    score, data = gathered.score, []
    for row in gathered.rows:
        for run in row.finished:
            for peer, numbers in run.result.get("peers", {}).items():
                known = {name: value for name, value in numbers.items() if is_number(value)}
                data.append({"row": row.name, "seed": run.seed, "peer": peer} | _without(known, "row", "seed", "peer"))
    if not data:
        return None
    of_each: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for it in data:
        of_each.setdefault((it["row"], it["peer"]), []).append(it)
    rows = tuple(
        (
            *(row, peer, spread_cell(spread_of([it[f"test_{score.name}"] for it in found]), score.digits)),
            *(len(found), number_cell(found[0].get("parameters"), "{:,.0f}")),
        )
        for (row, peer), found in of_each.items()
    )
    columns = "row", "peer", f"test {score.words}{f', {score.unit}' if score.unit else ''}", "n", "parameters"
    best = f"at its best on the validation {gathered.noun}"
    note = f"As they were in the epoch in which the row's own student was {best}."
    return ReportTable("peers", "Peers", Table(columns, rows, note), tuple(data))


def _without(numbers: dict[str, float], *names: str) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if name not in names}
