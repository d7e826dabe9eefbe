"""`layerlink push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def push(
    run: Annotated[Path, typer.Argument(parser=given_path, help="The folder of a finished run.")],
    target: Annotated[str, typer.Argument(help="A folder (./model), or OWNER/NAME of Hugging Face's hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository of the hub public.")] = False,
) -> None:
    """Put a student where others can load it: weights, card, recipe, classes, preprocessing, tokenizer; no code.

    Example: layerlink push runs/vgg7-links-0 ./vgg7
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.design.use.pushing import push as push_to
    from layerlink.lab.run.folder import RunFolder

    place = push_to(RunFolder(run), target, private=not public)
    Console().say(f"pushed {run} to {place}    it is loaded by ll.load(FOLDER)")
