"""What the losses' own docstrings say of them, for lists, checks and the page ``docs/losses.md``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from layerlink.losses.loss import LossKind
from layerlink.losses.table import LOSSES

_SECTION = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)
_LABEL = re.compile(r"(?:^|(?<=\s))(Source|Weight|When|Cost|Differs): ")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Entry:
    """What is said of a loss.

    Args:
        name: in the table.
        equation: the first sentence.
        about: what follows it.
        sides: what it takes of student and teacher, in shapes.
        options: of each its name, its default as it is written, what it is.
        gives: the value, and what it is for equal sides.
        weight: as published, in words that begin with the number.
        source: who, where, which equation.
        when: to use it.
        cost: as it grows.
        differs: from paper or code in use; empty where it does not.
    """

    name: str
    equation: str
    about: str
    sides: tuple[str, str]
    options: tuple[tuple[str, str, str], ...]
    gives: str
    weight: str
    source: str
    when: str
    cost: str
    differs: str

    @property
    def published(self) -> float | None:
        """The published weight; None where there is no single one."""
        found = _NUMBER.match(self.weight)
        return float(found[0]) if found else None


def entry_of(name: str, kind: LossKind) -> Entry:
    """What a loss's docstring says."""
    text = inspect.cleandoc(kind.make.__doc__ or "").partition(">>>")[0]
    parts = _SECTION.split(text)
    blocks = dict(zip(parts[1::2], parts[2::2], strict=True))
    head, tail = parts[0], ""
    for title, block in blocks.items():  # what is indented belongs to the section, the rest follows it
        inside, rest = _indented(block)
        blocks[title], tail = inside, f"{tail} {rest}"
    labelled = _LABEL.split(" ".join(f"{'' if blocks else head} {tail}".split()))
    said = dict(zip(labelled[1::2], labelled[2::2], strict=True))
    arguments = dict(_arguments(blocks.get("Args", "")))
    equation, _, about = head.strip().partition("\n\n")
    free = _one_line(labelled[0]) if blocks else ""
    return Entry(
        name=name,
        equation=_one_line(equation),
        about=_one_line(_LABEL.split(about)[0]),
        sides=(arguments.get("student", ""), arguments.get("teacher", "")),
        options=tuple((it, _shown(default), arguments.get(it, "")) for it, default in kind.options().items()),
        gives=_one_line(blocks.get("Returns", "")) or free,
        **{label.lower(): _one_line(said.get(label, "")) for label in ("Weight", "Source", "When", "Cost", "Differs")},
    )


def published_weight(name: str) -> float | None:
    """The weight that a loss of the table was published with; None where there is none."""
    return entry_of(name, LOSSES[name]).published if name in LOSSES else None


def _indented(block: str) -> tuple[str, str]:
    lines = block.strip("\n").split("\n")
    end = next((place for place, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def _arguments(block: str) -> Iterator[tuple[str, str]]:
    """Names and texts of a section of arguments; several names may share a text."""
    for found in re.split(r"(?m)^ {4}(?=\w[\w, ]*:)", block)[1:]:
        names, _, text = found.partition(":")
        for name in names.split(","):
            yield name.strip(), _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shown(default: object) -> str:
    return "" if default is inspect.Parameter.empty else str(default)


_INTRODUCTION = (
    "Made from the losses' own docstrings: `layerlink ls losses --markdown > docs/losses.md`. In a link "
    "`LAYER : NAME(option=value) * WEIGHT`, outputs as",
    "`@output`; in Python `layerlink.losses.NAME`. N examples, C classes or channels, s student, t teacher. Published "
    "weights stand beside other",
    "weights of their papers (of the labels, of `kd`): they are a place to begin.",
)


def as_markdown() -> str:
    """The page ``docs/losses.md``."""
    lines = ["# Losses", "", *_INTRODUCTION]
    families: dict[str, list[str]] = {}
    for name, kind in LOSSES.items():
        families.setdefault(kind.make.__module__.split(".")[2], []).append(name)
    for family, names in families.items():
        lines += ["", f"## {family.capitalize()}"]
        for name in names:
            lines += ["", *_block(entry_of(name, LOSSES[name]), LOSSES[name])]
    return "\n".join(lines) + "\n"


def _block(entry: Entry, kind: LossKind) -> Iterator[str]:
    yield f"### {entry.name}"
    yield ""
    yield f"{entry.equation} {entry.about}".strip()
    yield ""
    for label, text in (("Student", entry.sides[0]), ("Teacher", entry.sides[1])):
        if text:
            yield f"- {label}: {text}"
    for name, default, text in entry.options:
        yield f"- `{name}`{f' = {default}' if default else ''}: {text}"
    needs = ", ".join(sorted(kind.needs()))
    for label, text in (
        *(("Asks for", needs), ("Gives", entry.gives), ("Weight", entry.weight), ("When", entry.when)),
        *(("Cost", entry.cost), ("Source", entry.source), ("Differs", entry.differs)),
    ):
        if text:
            yield f"- {label}: {text}"
