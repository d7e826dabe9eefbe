"""`layerlink sweep`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def sweep(
    file: Annotated[str, typer.Argument(help="A sweep's file, or the name of a shipped one (layerlink ls).")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the sweep (seeds=3) or of every run's recipe."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=given_path, help="The sweep's folder. Default: runs/SWEEP.")
    ] = None,
    on: Annotated[str | None, typer.Option(help="Send every cohort to other machines: ray or slurm.")] = None,
    job: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What a job gets, in Ray's or submitit's words.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show runs, expected cost and what is done; end.")] = False,
) -> None:
    """Train many students on one teacher pass. Started again, it goes on; what is finished is not repeated.

    Example: layerlink sweep study/table2 data.root=~/cifar10 seeds=3 training.epochs=10

    On machines that share this folder: --on ray --job num_gpus=1, or --on slurm --job slurm_partition=gpu; cohort=4
    makes jobs of 4 runs.
    """
    from layerlink.cli.process.together import together
    from layerlink.cli.terminal.sweep import SweepConsole, show_outcomes, show_plan
    from layerlink.errors import UsageError
    from layerlink.lab.sweep.file import load_sweep
    from layerlink.lab.sweep.machines import machines_named, run_sweep_on
    from layerlink.lab.sweep.running import check_folders, run_sweep

    words = ["layerlink", "sweep", file, *(overrides or ()), *(["--out", str(out)] if out else [])]
    with together() as processes:
        plan = load_sweep(file, overrides or (), out=out)
        if job and on is None:
            raise UsageError("--job says what a job of another machine gets: say --on ray or --on slurm, too")
        console = SweepConsole(silent=not processes.first)
        if dry_run:
            check_folders(plan)
            show_plan(console, plan)
            return
        with console:
            if on is None:
                outcomes = run_sweep(plan, command=shlex.join(words), watch=console)
            else:
                machines = machines_named(on, plan.folder, job or ())
                outcomes = run_sweep_on(machines, plan, command=shlex.join(words), watch=console)
        if show_outcomes(console, plan, outcomes):
            raise typer.Exit(1)
