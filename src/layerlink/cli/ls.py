"""`layerlink ls`."""

from __future__ import annotations


def ls() -> None:
    """List recipes, sweeps, searches, models, losses and data sets.

    Example: layerlink ls
    """
    from layerlink.cli.terminal.console import Console
    from layerlink.config.shipped import shipped
    from layerlink.data import SOURCES
    from layerlink.losses import LINK_LOSSES
    from layerlink.models import MODELS

    console = Console()
    rows = [
        (kind, name, file.read_text(encoding="utf-8").splitlines()[0].lstrip("# "))
        for kind in ("recipe", "sweep", "search")
        for name, file in shipped(kind).items()
    ]
    rows += [("model", name, _first_line(make)) for name, make in MODELS.items()]
    rows += [("loss", name, _first_line(loss)) for name, loss in LINK_LOSSES.items()]
    rows += [("data", name, entry.description) for name, entry in SOURCES.items()]
    console.table(("kind", "name", "what"), rows)


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
