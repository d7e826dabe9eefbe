"""`layerlink quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder of the four runs and the page.")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(help="Seed of all four runs.")] = 0,
) -> None:
    """Train a teacher on scikit-learn's digits, then three students of it, and compare them on a page.

    Example: layerlink quickstart --out runs/quickstart
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.lab.report.quickstart import compare

    console = Console(announce=True)
    with console:
        comparison = compare(out, seed=seed, watch=console)
    console.table(comparison.columns, [[cell.text for cell in row] for row in comparison.rows])
    console.say(comparison.answer)
    console.say(f"page   {comparison.page}")
