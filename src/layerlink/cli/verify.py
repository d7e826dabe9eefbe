"""`layerlink verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def verify(
    run: Annotated[Path, typer.Argument(parser=given_path, help="A finished run's folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of its recipe to change.")
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that the folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Repeat a run's first steps and its test reading, and compare. Nothing is written.

    Example: layerlink verify runs/vgg7-links-0 data.root=~/cifar10
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.lab.run.folder import RunFolder
    from layerlink.lab.run.reading.verification import verify_run

    console = Console()
    found = verify_run(RunFolder(run.expanduser()), overrides or (), trust_code=trust_code)
    pairs = zip(found.recorded_losses, found.losses, strict=True)
    rows = [(str(step), f"{then:.9g}", f"{now:.9g}") for step, (then, now) in enumerate(pairs, start=1)]
    console.table(("step", "recorded loss", "now"), rows)
    difference = found.largest_difference
    exact = "the same to the last bit" if difference == 0 else f"{difference:.1e} apart at most"
    console.say(f"first steps   {exact} (allowed: {found.tolerance:.0e}, relative)")
    score = found.score
    allowed = f"{found.reading_tolerance:.2f} points" if score.unit == "%" else f"{found.reading_tolerance:.2g}"
    then, now = score.show(found.recorded), score.show(found.reading)
    console.say(f"test {score.words} {then} recorded, {now} now (allowed: {allowed})")
    if not found.holds:
        console.warn(f"{run} does not hold: what it records is not what its recipe gives here")
        raise typer.Exit(1)
    console.say(f"{run} holds")
