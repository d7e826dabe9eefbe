"""Which numbers in maps of labels are which classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import regular
from layerlink.printable import one_line

FILE = "classes.txt"
_MOST_BYTES = 1_000_000
_HIGHEST = 65_535  # that 16 bits hold

# The classes that Cityscapes evaluates, with their numbers in its ``labelIds`` (Cordts et al. 2016, arXiv 1604.01685).
CITYSCAPES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}


@dataclass(frozen=True)
class Classes:
    """What is known of classes before the maps are read.

    Args:
        names: in the order of the outputs; None: as many as the maps number.
        numbers: that each has in the maps, where that is not its place.
        ignore: what does not count; None: all does.
        said_by: who says so, for messages.
    """

    names: tuple[str, ...] | None
    numbers: tuple[tuple[int, ...], ...] | None
    ignore: int | None
    said_by: str

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"names": self.names, "numbers": self.numbers, "ignore": self.ignore}

    def notes(self, names: Sequence[str]) -> list[str]:
        """What is to be said of classes that are ``names``."""
        if self.names is None:
            return [f"{len(names)} classes, as the maps number them; names: a file {FILE}, or data.arguments.classes"]
        if self.numbers is not None:
            return [f"{len(names)} classes as {self.said_by} numbers them; pixels of other numbers are ignored"]
        return []

    def table(self, found: Mapping[int, Sequence[Path]]) -> tuple[NDArray[Any], tuple[str, ...]]:
        """What becomes of every number in the maps, as an array to look it up in; and the classes' names.

        Args:
            found: the numbers that are there, each with maps that have it.

        Raises:
            LayerlinkError: where some are neither a class nor ignored, all at once.
        """
        counted = max((number for number in found if number != self.ignore), default=-1) + 1
        names = tuple(map(str, range(max(counted, 2)))) if self.names is None else self.names
        if self.numbers is None:
            self._refuse(found, len(names))
            table = np.arange(_HIGHEST + 1)
        else:
            table = np.full(_HIGHEST + 1, self.ignore)
            for place, numbers in enumerate(self.numbers):
                table[list(numbers)] = place
        ends = 0 if self.ignore is None else self.ignore
        fitting = (np.uint8, np.int16, np.int32)
        dtype = next(
            it for it in fitting if np.iinfo(it).min <= min(ends, 0) and max(ends, len(names) - 1) <= np.iinfo(it).max
        )
        return table.astype(dtype), names

    def none_counts(self, where: str, count: int) -> str:
        """What is to be said of a part whose maps are ignored everywhere.

        Args:
            where: the part.
            count: how many maps it has.
        """
        return (
            f"{where}: no pixel of {count} maps has a label that counts (some data sets keep those of their test "
            "images back). Remove or rename that part"
        )

    def _refuse(self, found: Mapping[int, Sequence[Path]], count: int) -> None:
        wrong = sorted(number for number in found if number >= count and number != self.ignore)
        if not wrong:
            return
        maps = sorted({path for number in wrong for path in found[number]})
        told = ", ".join(map(str, wrong[:10])) + (f" and {len(wrong) - 10} more" if len(wrong) > 10 else "")
        ignored = "none is ignored" if self.ignore is None else f"{self.ignore} is ignored"
        raise LayerlinkError(
            f"labels must lie in 0..{count - 1}, for the {count} classes of {self.said_by}, and {ignored}; got {told} "
            f"in {len(maps)} map{'s' if len(maps) > 1 else ''}, the first {maps[0]}. Name every class, or set "
            "task={name: segmentation, arguments: {ignore: NUMBER}}"
        )


def choose_classes(given: Any, root: Path, ignore: int | None, *, city_ids: bool = False) -> Classes:
    """The classes that an argument, a file or a well-known data set says.

    Args:
        given: the argument ``classes``.
        root: that may hold a file of names.
        ignore: the number that does not count.
        city_ids: whether maps hold Cityscapes' numbers of all its labels.

    Raises:
        UsageError: where the argument is none, or ignore is a class's place.
    """
    if ignore is not None and (type(ignore) is not int or not -32_768 <= ignore <= _HIGHEST):
        raise UsageError(f"segmentation: ignore must be a whole number up to {_HIGHEST}; got {ignore!r:.60}")
    if given is None and (root / FILE).is_file():
        return Classes(_from_file(root / FILE), None, ignore, FILE)
    if given is None and not city_ids:
        return Classes(None, None, ignore, "the maps")
    said_by = "Cityscapes' labelIds" if given is None else "data.arguments.classes"
    given = CITYSCAPES if given is None else given
    if type(given) is int and 2 <= given <= _HIGHEST:
        return Classes(tuple(map(str, range(given))), None, ignore, said_by)
    if isinstance(given, Mapping):
        return _by_number(given, ignore, said_by)
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        return Classes(_checked(given, said_by), None, ignore, said_by)
    raise UsageError(
        "segmentation: classes must be names in the order of their numbers, how many there are (2 or more), or numbers "
        f"by name, such as {{road: 7, car: [26, 27]}}; got {given!r:.80}"
    )


def _by_number(given: Mapping[str, Any], ignore: int | None, said_by: str) -> Classes:
    numbers = [tuple(value) if isinstance(value, list | tuple) else (value,) for value in given.values()]
    flat = [number for each in numbers for number in each]
    if any(type(number) is not int or not 0 <= number <= _HIGHEST for number in flat) or len(set(flat)) < len(flat):
        raise UsageError(
            f"{said_by}: numbers must be whole ones in 0..{_HIGHEST}, each of one class; got "
            f"{list(given.values())!r:.120}"
        )
    if ignore is None or 0 <= ignore < len(numbers):
        raise UsageError(
            f"{said_by}: pixels of other numbers are ignored, so task.arguments.ignore must be {len(numbers)} or more, "
            f"such as 255; got {ignore}"
        )
    return Classes(_checked(list(given), said_by), tuple(numbers), ignore, said_by)


def _from_file(path: Path) -> tuple[str, ...]:
    try:
        lines = regular(path, most=_MOST_BYTES).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LayerlinkError(f"{path}: expected names in UTF-8, one a line; {error}") from None
    return _checked([line.strip() for line in lines if line.strip()], str(path))


def _checked(names: Sequence[str], said_by: str) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    odd = [name for name in names if one_line(name) != name or not name]
    if len(names) < 2 or twice or odd:
        why = f"{twice[0]!r} stands there twice" if twice else f"{odd[0]!a:.40} is none" if odd else f"got {len(names)}"
        raise UsageError(f"{said_by}: expected 2 or more names of classes, each once: {why}")
    return tuple(names)
