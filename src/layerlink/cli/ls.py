"""`layerlink ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerlink.losses import LossKind


def ls() -> None:
    """List recipes, sweeps, searches, models, losses, adapters, tasks and data sets.

    Example: layerlink ls
    """
    from layerlink.adapters import ADAPTERS
    from layerlink.cli.terminal.console import Console
    from layerlink.config.shipped import shipped
    from layerlink.data import SOURCES
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
    console.table(("kind", "name", "what"), rows)


def _options(kind: LossKind) -> str:
    """A loss's options with their defaults, as they stand in a link."""
    from layerlink.transfer.link_text import literal

    given = ", ".join(f"{name}={literal(default)}" for name, default in kind.options().items())
    return f"({given})" if given else ""


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
