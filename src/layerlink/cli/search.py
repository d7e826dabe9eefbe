"""`layerlink search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def search(
    file: Annotated[str, typer.Argument(help="A search's file, or the name of a shipped one (layerlink ls).")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the search (trials=50) or of every run's recipe."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=given_path, help="The search's folder. Default: runs/SEARCH.")
    ] = None,
) -> None:
    """Look for the recipe with the best validation score. Started again, it goes on.

    Example: layerlink search study/weights data.root=~/cifar10 trials=50
    """
    from layerlink.cli.terminal.sweep import SweepConsole
    from layerlink.lab.run.folder import RunFolder
    from layerlink.lab.search.running import run_search
    from layerlink.lab.search.schema import load_search
    from layerlink.printable import in_a_shell

    wanted, family = load_search(file, overrides or (), out=out)
    console = SweepConsole()
    with console:
        trials = run_search(wanted, family, watch=console)
    fields = list(wanted.space)
    rows = [
        (
            str(trial.number),
            trial.state,
            "-" if trial.validation is None else trial.score.show(trial.validation),
            *(_shown(trial.fields[field]) for field in fields),
        )
        for trial in trials
    ]
    console.table(("trial", "state", "validation", *fields), rows)
    best = trials[0]
    if best.state != "complete":
        console.warn("no trial was trained to its end")
        raise typer.Exit(1)
    result = RunFolder(best.folder).read_result()
    score = best.score
    console.say(
        f"best       trial {best.number}: validation {score.show(best.validation or 0.0)}, which chose it; test "
        f"{score.show(result[f'test_{score.name}'])} of {result['test_images']:,} "
        f"{result.get('examples', 'images')}"
    )
    recipe = RunFolder(best.folder).recipe
    console.say(f"again      layerlink run {in_a_shell(recipe)} --out ANOTHER    weights: {best.folder}")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
