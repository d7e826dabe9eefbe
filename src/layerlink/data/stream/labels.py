"""Labels of images that are numbers or names, as the numbers of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerlink.data.class_names import places_of
from layerlink.errors import LayerlinkError


def numbered(
    said: Mapping[str, Sequence[int | str]], names: Sequence[str] | None, where: str
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """The class of every image, and the classes' names: those of the images to train on, as of texts (``places_of``).

    Args:
        said: labels of every part.
        names: of the classes 0, 1, ..., where the data tells them.
        where: the data, for messages.

    Raises:
        LayerlinkError: where labels are of two kinds, below 0, or of no class.
    """
    every = [label for labels in said.values() for label in labels]
    if len({type(label) for label in every}) > 1:
        raise LayerlinkError(f"{where}: some labels are numbers and some are names. Write all of them alike")
    low = min((label for label in every if isinstance(label, int)), default=0)
    if low < 0:
        raise LayerlinkError(f"{where}: expected labels of 0 and more; got {low}")
    texts = {part: [str(label) for label in labels] for part, labels in said.items()}
    known = None if names is None else tuple(names)
    classes, places = places_of(
        set(texts["train"]),
        known,
        f"{where}: what the files tell of classes",
        "images",
        counted=all(isinstance(label, int) for label in every),
    )
    for part, labels in texts.items():
        others = sorted(set(labels) - places.keys())
        if others:
            raise LayerlinkError(
                f"{where}: {len(others)} classes of {part} are not among those to train on: {', '.join(others[:5])}"
            )
    return {part: [places[label] for label in labels] for part, labels in texts.items()}, classes
