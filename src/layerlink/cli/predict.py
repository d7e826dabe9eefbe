"""`layerlink predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path, new_file


def predict(
    model: Annotated[
        Path, typer.Argument(parser=given_path, help="The folder of a finished run, or an exported file.")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            parser=given_path,
            help="Image files, or folders of such at any depth; of texts .csv, .tsv, .jsonl or .parquet, or .txt with "
            "a text a line.",
        ),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(help="Of texts in these tables, twice of pairs. Default: as the model was trained."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=new_file, metavar="FILE", help="The CSV to write.", show_default="the terminal"),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that the folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Say what a model says of images or texts, as CSV: a row a file, or a text.

    Example: layerlink predict runs/vgg7-links-0 photos/ --out answers.csv
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.design.use import load
    from layerlink.design.use.answers import answers_of, write_answers

    loaded = load(model, trust_code=trust_code)
    found = answers_of(loaded, files, column or ())
    for path, why in found.bad:
        typer.echo(f"warning: {path} is left out: {why}", err=True)
    write_answers(found, out)
    noun = "texts" if loaded.of_texts else "images"
    if out is not None:
        Console().say(f"saved {out}   {len(found.rows):,} of {len(found.rows) + len(found.bad):,} {noun}")
    if found.bad:
        raise typer.Exit(1)
