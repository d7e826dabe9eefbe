"""What is to be said of a folder of images: problems, warnings, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from layerlink.data.folders.tree import Found, below, counted, is_litter, order, shown

FEW = 5  # names in a message


@dataclass(frozen=True)
class Tree:
    """A folder with everything below it."""

    folder: Path

    @cached_property
    def found(self) -> list[Found]:
        """All of it, by names."""
        return sorted(below(self.folder), key=order)

    @cached_property
    def images(self) -> list[Found]:
        """The files to be read."""
        return [found for found in self.found if found.kind == "image"]

    @property
    def direct(self) -> list[Found]:
        """The images right in the folder."""
        return [found for found in self.images if len(found.names) == 1]

    @property
    def deep(self) -> list[Found]:
        """The images in folders of the folder."""
        return [found for found in self.images if len(found.names) > 1]


@dataclass
class Said:
    """What was met on the way, all of it told at the end."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def say_unread(tree: Tree, said: Said) -> None:
    """Say what of a split is not read, what lies deeper, and what cannot be read."""
    where = shown(tree.folder.name)
    lost = [found for found in tree.found if found.kind == "lost"]
    if lost:
        told = "; ".join(f"{shown('/'.join(found.names)) or 'itself'} is {found.reason}" for found in lost[:FEW])
        more = f"; and {len(lost) - FEW} more" if len(lost) > FEW else ""
        said.problems.append(
            f"{tree.folder}: expected files and folders that can be read; got {len(lost)} that cannot: {told}{more}. "
            f"Bring back what they stand for, or remove them."
        )
    inside = [found for found in tree.found if len(found.names) > 1]
    unread = [found for found in tree.found if found.kind == "unread"]
    if unread:
        said.warnings.append(
            f"images of other endings in {where}/ are not read: {counted(unread)}. Convert or remove them"
        )
    if tree.direct:
        said.warnings.append(f"images right in {where}/, in no class folder, are not read: {counted(tree.direct)}")
    others = [found for found in inside if found.kind == "other" and not is_litter(found)]
    if others:
        said.notes.append(f"files in {where}/ that are no images by their ending: {counted(others)}")
    nested = [found for found in tree.images if len(found.names) > 2]
    if nested:
        first = shown("/".join(nested[0].names))
        said.notes.append(
            f"{len(nested)} images of {where}/ lie in folders inside class folders and are of that class; "
            f"the first {first}"
        )


def all_of(problems: Sequence[str], many: str) -> str:
    """The first of many sentences, and how many there are.

    Args:
        problems: one or more.
        many: what is said before them, where there are several.
    """
    if len(problems) == 1:
        return problems[0]
    more = f"\n  and {len(problems) - FEW} more" if len(problems) > FEW else ""
    return many + "".join(f"\n  {problem}" for problem in problems[:FEW]) + more
