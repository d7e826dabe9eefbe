"""A table of a report, and the cells that several of them have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layerlink.lab.report.chance.spread import Spread
from layerlink.lab.report.page.page import Cell, Table


@dataclass(frozen=True)
class ReportTable:
    """A table of the report.

    Args:
        name: of its CSV file, without the ending.
        heading: of its section.
        shown: as it is read.
        data: as it is computed with: one mapping a row, the same names in each.
    """

    name: str
    heading: str
    shown: Table
    data: tuple[dict[str, Any], ...]


def number_cell(value: float | None, form: str) -> Cell:
    """A number in its form; a dash where there is none."""
    return Cell("-") if value is None else Cell(form.format(value), value)


def spread_cell(spread: Spread | None, digits: int = 2) -> Cell:
    """Mean and standard deviation; a dash where there is none."""
    if spread is None:
        return Cell("-")
    sd = "" if spread.sd is None else f" ± {spread.sd:,.{digits}f}"
    return Cell(f"{spread.mean:,.{digits}f}{sd}", spread.mean)
