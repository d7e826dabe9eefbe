"""`layerlink bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from layerlink.measure.timing import Timing


def bench(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe's file or a shipped one's name. By default the study's, on random images."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the recipe to change.")
    ] = None,
) -> None:
    """Measure on this machine where the time of a training step goes, and say what to change.

    Nothing is trained or written.

    Example: layerlink bench study/vgg7-links data.root=~/cifar10 training.batch_size=256
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.lab.bench.advice import advice
    from layerlink.lab.bench.speed import RECIPE, measure_speed, set_up_random
    from layerlink.lab.recipe.file import load_recipe
    from layerlink.lab.run.setup.machine import processor_name
    from layerlink.lab.run.setup.setup import set_up

    console, fields = Console(), overrides or []
    if recipe is not None and "=" in recipe:
        fields, recipe = [recipe, *fields], None
    setup = set_up_random(fields) if recipe is None else set_up(load_recipe(recipe, fields))
    what = f"{RECIPE} on random images" if recipe is None else setup.loaded.name
    console.say(f"{what}   {setup.precision} on {processor_name(setup.device)}")
    with console.rich.status("") as status:
        speed = measure_speed(setup, tell=lambda name: status.update(f"timing {name}"))
    for note in speed.notes:
        console.say(note)
    rows = [_row(part.name, part.timing, speed.batch, speed.share(part)) for part in speed.parts]
    rows.append(_row("whole step", speed.step, speed.batch, None))
    columns = (
        "part",
        f"ms a batch of {speed.batch}",
        "quartiles",
        f"{setup.images.train.noun}/s",
        "of the matrix rate",
    )
    console.table(columns, rows)
    console.say(f"matrix rate: {speed.matrix_rate / 1e9:,.0f} GFLOP/s in {setup.precision}. Parts are timed alone.")
    for sentence in advice(speed, setup):
        console.say(sentence)


def _row(name: str, timing: Timing, batch: int, share: float | None) -> tuple[str, ...]:
    return (
        name,
        f"{timing.median:.1f}",
        f"{timing.low:.1f} to {timing.high:.1f}",
        f"{1000 * batch / timing.median:,.0f}",
        "-" if share is None else f"{100 * share:.0f} %",
    )
