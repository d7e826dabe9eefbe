"""`layerlink evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of its recipe to change.")
    ] = None,
) -> None:
    """Read a finished run's student again on its validation and test images.

    Example: layerlink evaluate runs/vgg7-links-0 data.root=~/cifar10
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.lab.run.evaluation import evaluate_run
    from layerlink.lab.run.folder import RunFolder

    reading = evaluate_run(RunFolder(run), overrides or ())
    console = Console()
    console.say(f"{run}   {reading['parameters']:,} parameters")
    console.say(f"validation   {reading['validation_accuracy']:6.2f} %   of {reading['validation_images']:,} images")
    console.say(f"test         {reading['test_accuracy']:6.2f} %   of {reading['test_images']:,} images")
    if "test_nll" in reading:
        console.say(
            f"             {reading['test_nll']:6.3f} nats negative log-likelihood, ECE {reading['test_ece']:.2f} %"
        )
    console.say(f"recorded     {reading['recorded_test_accuracy']:6.2f} %   when the run was finished")
    if "agreement" in reading:
        console.say(
            f"teacher      {reading['teacher_test_accuracy']:6.2f} %   and the student answers like it in "
            f"{reading['agreement']:.2f} %"
        )
