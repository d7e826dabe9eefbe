"""Labels that are numbers or names, as the numbers of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerlink.errors import LayerlinkError

_MOST_CLASSES = 1_000_000


def numbered(
    said: Mapping[str, Sequence[int | str]], names: Sequence[str] | None, where: str
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """The class of every example, and the classes' names.

    Args:
        said: labels of every part; those of ``train`` decide which classes there are.
        names: of the classes 0, 1, ..., where the data tells them.
        where: the data, for messages.

    Returns:
        Classes by part, and names: those given, the numbers as text, or the names in their order.

    Raises:
        LayerlinkError: where labels are of two kinds, below 0, or of no class.
    """
    kinds = {type(label) for labels in said.values() for label in labels}
    if len(kinds) > 1:
        raise LayerlinkError(f"{where}: some labels are numbers and some are names. Write all of them alike")
    if kinds == {str}:
        known = {name: number for number, name in enumerate(sorted(set(map(str, said["train"]))))}
        for part, labels in said.items():
            others = sorted(set(map(str, labels)) - known.keys())
            if others:
                raise LayerlinkError(
                    f"{where}: {len(others)} classes of {part} are not among those to train on: {', '.join(others[:5])}"
                )
        return {part: [known[str(label)] for label in labels] for part, labels in said.items()}, tuple(known)
    low = min((int(label) for labels in said.values() for label in labels), default=0)
    high = max((int(label) for labels in said.values() for label in labels), default=0)
    count = len(names) if names is not None else high + 1
    if low < 0 or high >= min(count, _MOST_CLASSES):
        raise LayerlinkError(f"{where}: expected labels of 0..{min(count, _MOST_CLASSES) - 1}; got {low}..{high}")
    classes = tuple(names) if names is not None else tuple(str(number) for number in range(count))
    return {part: [int(label) for label in labels] for part, labels in said.items()}, classes
