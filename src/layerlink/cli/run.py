"""`layerlink run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of a shipped one (layerlink ls).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the recipe to change.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=given_path, help="The run's folder. Default: runs/RECIPE-SEED.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
) -> None:
    """Train a student as a recipe says.

    Example: layerlink run study/vgg7-links data.root=~/cifar10 teacher.weights=runs/vgg16-0 training.epochs=3

    On several GPUs or CPUs: torchrun --nproc-per-node 2 -m layerlink run ... (the batch is that of all together).
    """
    from layerlink.cli.process.together import together
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.setup import show_setup
    from layerlink.files.paths import expanded
    from layerlink.lab.recipe.file import load_recipe
    from layerlink.lab.run.folder import RunFolder
    from layerlink.lab.run.resume import claim
    from layerlink.lab.run.setup.setup import set_up
    from layerlink.lab.run.training import default_folder, train

    with together() as processes:
        loaded = load_recipe(recipe, overrides or ())
        folder = RunFolder(expanded(out or default_folder(loaded.name, loaded.recipe.seed)))
        processes.first_says(lambda: claim(folder, loaded.recipe, resume=resume))
        console = Console(silent=not processes.first)
        if processes.first_says(lambda: resume and folder.result.exists()):
            console.say(f"{folder.path} is finished already; nothing to do")
            console.result(folder, processes.first_says(folder.read_result))
            return
        setup = set_up(loaded)
        show_setup(console, setup, folder)
        with console:
            result = train(setup, folder, watch=console, resume=resume)
        console.result(folder, result)
