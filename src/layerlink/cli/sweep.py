"""`layerlink sweep`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from layerlink.cli.console import Console
    from layerlink.lab.sweep.file import Plan


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
    from layerlink.cli.sweep_console import SweepConsole
    from layerlink.lab.sweep.file import load_sweep
    from layerlink.lab.sweep.running import check_folders, run_sweep

    plan = load_sweep(file, overrides or (), out=out)
    console = SweepConsole()
    if dry_run:
        check_folders(plan)
        _show_plan(console, plan)
        return
    words = ["layerlink", "sweep", file, *(overrides or ()), *(["--out", str(out)] if out else [])]
    with console:
        outcomes = run_sweep(plan, command=shlex.join(words), watch=console)
    failed = [outcome for outcome in outcomes if outcome.result is None]
    rows = [
        (
            outcome.planned.row.name,
            str(outcome.planned.seed),
            f"{outcome.result['test_accuracy']:.2f} %" if outcome.result else f"failed: {outcome.failure}",
        )
        for outcome in outcomes
    ]
    console.table(("row", "seed", "test accuracy"), rows)
    console.say(f"saved {plan.folder}    next: layerlink report {plan.folder}")
    if failed:
        console.warn(f"{len(failed)} of {len(outcomes)} runs failed; their reasons stand above")
        raise typer.Exit(1)


def _show_plan(console: Console, plan: Plan) -> None:
    from layerlink.cli.console import duration
    from layerlink.lab.run_folder import RunFolder
    from layerlink.lab.sweep.folder import run_state
    from layerlink.lab.sweep.running import expected_costs

    if plan.family.teacher is not None:
        state = run_state(RunFolder(plan.family.teacher_folder))
        console.say(f"teacher    {plan.family.teacher.source}   {plan.family.teacher_folder}   {state}")
    rows = [(run.row.name, str(run.seed), run_state(RunFolder(run.folder)), str(run.folder)) for run in plan.runs]
    console.table(("row", "seed", "state", "folder"), rows)
    total = 0.0
    for cost in expected_costs(plan):
        total += cost.seconds
        console.say(
            f"cohort     {len(cost.runs)} runs, {cost.together} at a time: {cost.steps:,} steps; teacher "
            f"{cost.teacher_seconds:.3f} s, each student {cost.student_seconds:.3f} s; about {duration(cost.seconds)}"
        )
    untrained = plan.family.teacher is not None and not RunFolder(plan.family.teacher_folder).result.exists()
    more = "; the teacher's own training and validation not counted" if untrained else "; validation not counted"
    console.say(f"time       about {duration(total)} (one step of each cohort measured, nothing trained{more})")
