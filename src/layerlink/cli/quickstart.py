"""`layerlink quickstart`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def quickstart(
    out: Annotated[Path, typer.Option(parser=given_path, help="Folder of the runs and the page.")] = Path(
        "runs/quickstart"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="How many students a row.")] = 4,
) -> None:
    """Train a teacher on scikit-learn's digits and twelve students that know few labels; compare them on a page.

    Example: layerlink quickstart --seeds 5

    The same as layerlink sweep digits/quickstart, then layerlink report runs/quickstart.
    """
    from layerlink.cli.terminal.report import show_report
    from layerlink.cli.terminal.sweep import SweepConsole
    from layerlink.lab.report.building import write_report
    from layerlink.lab.sweep.file import load_sweep
    from layerlink.lab.sweep.running import run_sweep

    plan = load_sweep("digits/quickstart", [f"seeds={seeds}"], out=out)
    console = SweepConsole()
    with console:
        command = ["layerlink", "sweep", "digits/quickstart", f"seeds={seeds}", "--out", str(out)]
        outcomes = run_sweep(plan, command=shlex.join(command), watch=console)
    console.say("")
    show_report(console, write_report([out]))
    if any(outcome.result is None for outcome in outcomes):
        raise typer.Exit(1)  # why, stands above
