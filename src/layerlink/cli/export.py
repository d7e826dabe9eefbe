"""`layerlink export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def export(
    run: Annotated[Path, typer.Argument(parser=given_path, help="The folder of a finished run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of its recipe to change.")
    ] = None,
    to: Annotated[
        list[str],
        typer.Option(metavar="FORMAT", help="onnx, torch, openvino or executorch; may be said more than once."),
    ] = ["onnx"],  # noqa: B006 - typer copies it
    int8: Annotated[
        bool, typer.Option("--int8", help="Also a file that computes in 8 bits, calibrated on training examples.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Pixels a side of its images. Default: as the student was trained.")
    ] = None,
    preprocessing: Annotated[
        bool, typer.Option("--preprocessing", help="The file takes bytes (uint8) and normalises them itself.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(parser=given_path, help="Folder of the files. Default: export in the run's folder.")
    ] = None,
    most_loss: Annotated[
        float,
        typer.Option(min=0, help="Points of its score that int8 may lose; a file that loses more is not written."),
    ] = 1.0,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that the folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Write a run's student as a file of another format, and compare the two on test images.

    Example: layerlink export runs/vgg7-links-0 --to onnx --int8
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.export import show_exports
    from layerlink.design.export import export as export_run

    written = export_run(
        run,
        to,
        int8=int8,
        size=size,
        preprocessing=preprocessing,
        out=out,
        most_loss=most_loss,
        overrides=overrides or (),
        trust_code=trust_code,
    )
    show_exports(Console(), written)
