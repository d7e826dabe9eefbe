"""`layerlink layers`."""

from __future__ import annotations

from typing import Annotated

import typer


def layers(
    model: Annotated[str, typer.Argument(help="A model's name (layerlink ls), or package.module:callable.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keyword arguments of the model.")
    ] = None,
    image_size: Annotated[int, typer.Option(min=1, help="Height and width of the input in pixels.")] = 32,
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 10,
    channels: Annotated[int, typer.Option(min=1, help="Channels of the input.")] = 3,
) -> None:
    """List the layers of a model that links can name, with the shapes they give.

    Example: layerlink layers vgg16 --image-size 224
    """
    import torch

    from layerlink.cli.terminal.console import Console
    from layerlink.config.changes import dotted, parse_override
    from layerlink.errors import Problem, ProblemsError, UsageError
    from layerlink.measure.flops import count_flops, count_parameters
    from layerlink.measure.layers import list_layers
    from layerlink.models import MODELS, build_model

    given, problems = {}, []
    for text in arguments or ():
        try:
            place, value = parse_override(text, example="width=0.5")
            given[dotted(place)] = value
        except UsageError as error:
            problems.append(Problem(f"{text!r} on the command line", str(error)))
    if problems:
        raise ProblemsError(model, problems)
    own = {"num_classes": classes, "image_size": image_size, "channels": channels} if model in MODELS else {}
    built = build_model(model, **{**own, **given})
    shape = (1, channels, image_size, image_size)
    try:
        image = torch.zeros(shape)
        found = list_layers(built, image)
    except Exception as error:
        raise UsageError(f"{model} does not run on images {shape}: {error}") from error
    console = Console()
    console.table(
        ("layer", "kind", "output", "parameters"),
        [layer.words() for layer in found],
    )
    console.say(
        f"{model}: {count_parameters(built):,} parameters, {count_flops(built, image) / 1e9:.2f} GFLOP per image "
        f"at {image_size}x{image_size}"
    )
