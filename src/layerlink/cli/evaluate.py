"""`layerlink evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def evaluate(
    run: Annotated[Path, typer.Argument(parser=given_path, help="The folder of a finished run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of its recipe to change.")
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that the folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Read a finished run's student again on its validation and test images.

    Example: layerlink evaluate runs/vgg7-links-0 data.root=~/cifar10
    """
    from layerlink.cli.terminal.by_class import show_by_class
    from layerlink.cli.terminal.console import Console
    from layerlink.lab.run.folder import RunFolder
    from layerlink.lab.run.reading.evaluation import evaluate_run
    from layerlink.tasks import Score

    reading = evaluate_run(RunFolder(run), overrides or (), trust_code=trust_code)
    console = Console()
    console.say(f"{run}   {reading['parameters']:,} parameters")
    score = Score.of(reading["score"])
    name = score.name
    shown = {part: f"{score.show(reading[f'{part}_{name}']):>8}" for part in ("validation", "test", "recorded_test")}
    what = reading.get("examples", "images")
    console.say(f"validation   {shown['validation']}   of {reading['validation_images']:,} {what}")
    console.say(f"test         {shown['test']}   of {reading['test_images']:,} {what}")
    if "test_nll" in reading and "test_ece" in reading:
        console.say(
            f"             {reading['test_nll']:6.3f} nats negative log-likelihood, ECE {reading['test_ece']:.2f} %"
        )
    else:
        others = [key for key in reading if key.startswith("test_") and key not in ("test_images", f"test_{name}")]
        for key in others:
            console.say(f"             {reading[key]:8.4g}   {key.removeprefix('test_').replace('_', ' ')}")
    console.say(f"recorded     {shown['recorded_test']}   when the run was finished")
    taught = reading.get(f"teacher_test_{name}")
    if taught is not None:
        like = f"   and the student answers like it in {reading['agreement']:.2f} %" if "agreement" in reading else ""
        console.say(f"teacher      {score.show(taught):>8}{like}")
    show_by_class(console, reading)
