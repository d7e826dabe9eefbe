"""`layerlink shrink`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from layerlink.cli.given_paths import given_path


def shrink(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="TEACHER | RECIPE [KEY=VALUE]...",
            help="A model (layerlink ls, package.module:callable, file.py:callable), a run's folder or a recipe.",
        ),
    ],
    params: Annotated[float | None, typer.Option(help="The student's parameters, a share of the teacher's.")] = None,
    flops: Annotated[float | None, typer.Option(help="Its operations, a share of the teacher's.")] = None,
    latency: Annotated[float | None, typer.Option(help="Its time a batch here, a share of the teacher's.")] = None,
    collapse: Annotated[bool, typer.Option("--collapse", help="One layer of every run of layers.")] = False,
    start: Annotated[str, typer.Option(help="Of collapsed layers: fit (least squares) or copy.")] = "fit",
    batches: Annotated[int, typer.Option(min=1, help="Of training data to fit on.")] = 4,
    out: Annotated[Path, typer.Option(parser=given_path, help="Folder of source, weights and recipe.")] = Path(
        "shrunk"
    ),
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Call code that a run's folder names, though somebody else made it.")
    ] = False,
) -> None:
    """Derive a smaller student from a teacher: source, weights that begin as the teacher's, a recipe with links.

    Example: layerlink shrink resnet56 --params 0.33 data.root=~/cifar10 teacher.weights=resnet56.safetensors
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.shrink import show_shrunk
    from layerlink.design.shrink.budget import Budget
    from layerlink.design.shrink.folder import StudentFolder
    from layerlink.design.shrink.question import load_teacher, set_up_teacher, shrink_teacher
    from layerlink.errors import UsageError
    from layerlink.files.paths import expanded

    shares = {"params": params, "flops": flops, "latency": latency}
    asked = [Budget(kind, share) for kind, share in shares.items() if share is not None]
    if len(asked) + collapse != 1:
        raise UsageError("give one of --params SHARE, --flops SHARE, --latency SHARE and --collapse: --params 0.25")
    console, folder = Console(), StudentFolder(expanded(out))
    names, overrides = ([it for it in words if ("=" in it) == has] for has in (False, True))
    loaded = load_teacher(names, overrides, trust_code=trust_code)
    folder.check()
    setup = set_up_teacher(loaded)
    for text in setup.warnings:
        console.warn(text)
    shrunk = shrink_teacher(setup, next(iter(asked), None), start=start, batches=batches)
    budget = "--collapse" if collapse else f"--{asked[0].kind}={asked[0].share:g}"
    command = f"layerlink shrink {shlex.join([*words, budget, f'--start={start}', f'--out={out}'])}"
    folder.write(shrunk, loaded.recipe, command)
    show_shrunk(console, folder, shrunk)
