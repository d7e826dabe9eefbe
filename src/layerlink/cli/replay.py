"""`layerlink replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def replay(
    run: Annotated[
        Path, typer.Argument(parser=given_path, help="A run's folder; of a sweep, that of the run that failed.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of its recipe to change.")
    ] = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="Another step than the one that failed: its epoch.")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="The step within it. Default: 1.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show every layer, not those around the first fault.")
    ] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that the folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Make the step again whose loss became NaN or infinite, and tell whose values overflowed first.

    Nothing is written. Example: layerlink replay runs/links-0
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.replay import show_replay
    from layerlink.errors import UsageError
    from layerlink.files.paths import expanded
    from layerlink.lab.replay.replaying import replay_run
    from layerlink.lab.run.folder import RunFolder

    if step is not None and epoch is None:
        raise UsageError(f"--step {step} of which epoch? Say --epoch, too")
    at = None if epoch is None else (epoch - 1, (step or 1) - 1)
    console = Console()
    with console:
        found = replay_run(RunFolder(expanded(run)), overrides or (), at=at, trust_code=trust_code, watch=console)
    show_replay(console, found, every_layer=layers)
