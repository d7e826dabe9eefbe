"""`layerlink sweep`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def sweep(
    file: Annotated[str, typer.Argument(help="A sweep's file, or the name of a shipped one (layerlink ls).")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the sweep (seeds=3) or of every run's recipe."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder. Default: runs/SWEEP.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show runs, expected cost and what is done; end.")] = False,
) -> None:
    """Train many students on one teacher pass. Started again, it goes on; what is finished is not repeated.

    Example: layerlink sweep study/table2 data.root=~/cifar10 seeds=3 training.epochs=10

    """
    from layerlink.cli.sweep_console import SweepConsole, show_outcomes, show_plan
    from layerlink.cli.together import together
    from layerlink.lab.sweep.file import load_sweep
    from layerlink.lab.sweep.running import check_folders, run_sweep

    words = ["layerlink", "sweep", file, *(overrides or ()), *(["--out", str(out)] if out else [])]
    with together() as processes:
        plan = load_sweep(file, overrides or (), out=out)
        console = SweepConsole(silent=not processes.first)
        if dry_run:
            check_folders(plan)
            show_plan(console, plan)
            return
        with console:
            outcomes = run_sweep(plan, command=shlex.join(words), watch=console)
        if show_outcomes(console, plan, outcomes):
            raise typer.Exit(1)
