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
    from layerlink.cli.terminal.search import show_best, show_trials
    from layerlink.cli.terminal.sweep import SweepConsole
    from layerlink.lab.search.running import run_search
    from layerlink.lab.search.schema import load_search

    wanted, family = load_search(file, overrides or (), out=out)
    console = SweepConsole()
    with console:
        trials = run_search(wanted, family, watch=console)
    show_trials(console, trials, list(wanted.space))
    if trials[0].state != "complete":
        console.warn("no trial was trained to its end")
        raise typer.Exit(1)
    show_best(console, trials[0])
