"""`layerlink ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from layerlink.cli.terminal.console import Console
    from layerlink.losses import LossKind


def ls(
    what: Annotated[
        str | None,
        typer.Argument(help="Of one kind alone, such as models; losses tells all of each, fields those of a recipe."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The losses as the page docs/losses.md.")] = False,
) -> None:
    """List recipes, sweeps, searches, models, losses, adapters, tasks and data sets.

    Example: layerlink ls losses
    """
    from layerlink.adapters import ADAPTERS
    from layerlink.cli.terminal.console import Console
    from layerlink.cli.terminal.fields import fields_page
    from layerlink.config.shipped import shipped
    from layerlink.data import SOURCES
    from layerlink.errors import UsageError, unknown_name
    from layerlink.losses import LOSSES
    from layerlink.models import MODELS
    from layerlink.tasks import TASKS

    console = Console()
    rows = [
        (kind, name, file.read_text(encoding="utf-8").splitlines()[0].lstrip("# "))
        for kind in ("recipe", "sweep", "search")
        for name, file in shipped(kind).items()
    ]
    rows += [("model", name, _first_line(make)) for name, make in MODELS.items()]
    rows += [("loss", f"{name}{_options(kind)}", _first_line(kind.make)) for name, kind in LOSSES.items()]
    rows += [("adapter", name, _first_line(make)) for name, make in ADAPTERS.items()]
    rows += [("task", name, _first_line(make)) for name, make in TASKS.items()]
    rows += [("data", name, entry.description) for name, entry in SOURCES.items()]
    kinds = {
        f"{kind}{'' if kind == 'data' else 'es' if kind in ('loss', 'search') else 's'}": kind for kind, *_ in rows
    }
    if markdown and what not in (None, "loss", "losses"):
        raise UsageError(f"--markdown is the page of losses, and {what!r} is none: layerlink ls losses --markdown")
    if what == "fields":
        print(fields_page(), end="")
        return
    if markdown or what in ("losses", "loss"):
        _tell_losses(console, markdown=markdown)
        return
    if what is not None and kinds.get(what, what) not in kinds.values():
        raise UsageError(unknown_name("kind", what, [*kinds, "fields"]))
    rows = [row for row in rows if what is None or row[0] == kinds.get(what, what)]
    console.table(("kind", "name", "what"), rows)


def _tell_losses(console: Console, *, markdown: bool) -> None:
    """Everything that is known of every loss."""
    from layerlink.losses import LOSSES
    from layerlink.losses.catalogue import as_markdown, entry_of

    if markdown:
        print(as_markdown(), end="")
        return
    for name, kind in LOSSES.items():
        entry = entry_of(name, kind)
        console.say(name)
        console.say(f"    {entry.equation}")
        for option, default, text in entry.options:
            console.say(f"    {option} = {default}: {text}" if default else f"    {option}: {text}")
        for label, text in (
            *(("student", entry.sides[0]), ("teacher", entry.sides[1]), ("asks for", ", ".join(sorted(kind.needs())))),
            *(("weight", entry.weight), ("when", entry.when), ("cost", entry.cost), ("source", entry.source)),
        ):
            if text:
                console.say(f"    {label:<9} {text}")
        console.say("")


def _options(kind: LossKind) -> str:
    """A loss's options with their defaults, as they stand in a link."""
    from layerlink.transfer.link_text import literal

    given = ", ".join(f"{name}={literal(default)}" for name, default in kind.options().items())
    return f"({given})" if given else ""


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
