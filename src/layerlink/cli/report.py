"""`layerlink report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(parser=given_path, metavar="DIR...", help="Folders of runs or sweeps, or that hold such."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=given_path, metavar="FOLDER", help="Where to write.", show_default="report in the first DIR"
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ROW",
            help="Which row the others are compared with.",
            show_default="the first baseline, else labels only",
        ),
    ] = None,
    measure: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many rows to run again: best, baseline, then in order.")
    ] = 2,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Run no model again: no latency, confusion or similarity of layers.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(parser=given_path, metavar="FOLDER", help="Where the data are, if they have moved since."),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that the folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Sum up runs on one page, with the answer first; and as Markdown, CSV and SVG.

    Example: layerlink report runs/study --against 'soft only'
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.report import show_report
    from layerlink.lab.report.building import write_report

    written = write_report(
        folders, out, against=against, measure=0 if no_measure else measure, data=data, trust_code=trust_code
    )
    show_report(Console(), written)
