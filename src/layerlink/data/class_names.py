"""Labels as texts, as classes: 0, 1, ... and their names."""

from __future__ import annotations

from layerlink.errors import UsageError, closest


def places_of(
    labels: set[str], names: tuple[str, ...] | None, field: str, noun: str, *, counted: bool = False
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes, and which of them each label is.

    Whole numbers are in their order, other labels in that of their letters. Names that are given are those of the
    labels 0, 1, ...; or they are the labels, and give the order.
    Names may be whole numbers themselves, such as those of folders in the order of their letters: 0, 1, 10, 11, 2.

    Args:
        labels: of the training examples, as text.
        names: of all classes; None: the labels are the names.
        field: where names are given, for messages.
        noun: what examples are, for messages.
        counted: the data hold places among the names, never names.

    Raises:
        UsageError: where names and labels are not the same.
    """
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    if names is None:
        order = sorted(labels, key=int) if numbers else sorted(labels)
        return tuple(order), {label: place for place, label in enumerate(order)}
    if len(set(names)) < len(names):
        raise UsageError(f"{field}: a name stands twice: {', '.join(names)}")
    if labels <= set(names) and not (counted and numbers):
        return names, {name: place for place, name in enumerate(names)}
    places = {str(place): place for place in range(len(names))}
    if numbers:
        beyond = sorted((label for label in labels if label not in places), key=int)
        if not beyond:
            return names, places
        raise UsageError(
            f"{field} names {len(names)} classes, the labels 0 to {len(names) - 1}; the training {noun} also "
            f"have the label{'s' if len(beyond) > 1 else ''} {', '.join(beyond[:8])}"
        )
    unknown = sorted(labels - set(names))
    near = closest(unknown[0], names)
    raise UsageError(
        f"{field} lacks the label{'s' if len(unknown) > 1 else ''} {', '.join(unknown[:8])} of the training "
        f"{noun}; it names {', '.join(names)}{f'. Is {unknown[0]} the same as {near[0]}?' if near else ''}"
    )
