"""`layerlink check`."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of a shipped one (layerlink ls).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the recipe to change.")
    ] = None,
    link: Annotated[
        list[str] | None, typer.Option("--link", metavar="TEXT", help="A link to try; told as YAML and shell write it.")
    ] = None,
) -> None:
    """Show everything that would happen, and every mistake, without training.

    Example: layerlink check study/vgg7-links data.root=~/cifar10 --link "group3 : at * 1000"
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.links import written_links
    from layerlink.cli.terminal.setup import show_costs, show_setup
    from layerlink.lab.bench.costs import measure_costs
    from layerlink.lab.recipe.file import load_recipe
    from layerlink.lab.run.folder import RunFolder
    from layerlink.lab.run.reading.teacher_reading import teacher_findings
    from layerlink.lab.run.setup.setup import set_up
    from layerlink.lab.run.training import default_folder
    from layerlink.lab.track.table import missing

    console = Console()
    given = list(overrides or ())
    if link:
        given.append(written_links(console, link))
    loaded = load_recipe(recipe, given)
    for who, path in loaded.recipe.user_code:
        # Before it happens: importing is running.
        named_by = "a link" if who == "links" else who.replace(".links", "'s link")
        console.say(f"imports    {path}   code that {named_by} names, run from here on")
    setup = set_up(loaded)
    folder = RunFolder(default_folder(loaded.name, loaded.recipe.seed))
    show_setup(console, setup, folder)
    for text in (*missing(loaded.recipe.track), *setup.warnings, *teacher_findings(setup)):
        console.warn(text)
    if folder.path.exists():
        console.warn(f"{folder.path} holds {folder.state()} already; a run would need --out FOLDER or --resume")
    show_costs(console, measure_costs(setup), setup)
