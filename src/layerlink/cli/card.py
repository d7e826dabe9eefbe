"""`layerlink card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path, new_file


def card(
    run: Annotated[Path, typer.Argument(parser=given_path, help="The folder of a finished run.")],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=new_file, metavar="FILE", help="Where to write.", show_default="README.md in the run's folder"
        ),
    ] = None,
) -> None:
    """Write a model card: what taught the student, on what, how good and large it is, its cost, how to use it.

    Example: layerlink card runs/vgg7-links-0
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.design.use.card import card as text_of
    from layerlink.design.use.card import write_card
    from layerlink.files.whole import write_text
    from layerlink.lab.run.folder import RunFolder
    from layerlink.printable import in_a_shell

    if out is None:
        path = write_card(RunFolder(run))
    else:
        path = out
        write_text(path, text_of(RunFolder(run)))
    Console().say(f"saved {path}    next: layerlink push {in_a_shell(run)} OWNER/NAME")
