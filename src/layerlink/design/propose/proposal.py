"""A proposal: links ready to paste, what each is good for and costs, and why other layers are not among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerlink.design.propose.layers import Layer

Cells = Sequence[Sequence[float | None]]  # (teacher, student)


@dataclass(frozen=True)
class ProposedLink:
    """A link, and why.

    Args:
        text: ready to paste.
        teacher: the layer that teaches.
        student: the layer that learns.
        similar: CKA of the two, about 0 to 1; None where it is not known.
        adapter: what brings the student's activation to the teacher's shape, in words; empty where nothing has to.
        parameters: of the adapter, trained with the student and exported with none.
        milliseconds: of adapter and loss, forward and backward, a batch.
        stored: bytes an example on disk, where the teacher is stored in bfloat16.
        role: where in the stages the layers stand.
    """

    text: str
    teacher: Layer
    student: Layer
    similar: float | None
    adapter: str
    parameters: int
    milliseconds: float
    stored: int
    role: str

    @property
    def size(self) -> str:
        """Of both layers."""
        one, other = self.teacher.words, self.student.words
        return one if one == other else f"{one} -> {other}"

    @property
    def line(self) -> str:
        """Everything that speaks for it and against it, in a line."""
        both = f"both {self.teacher.words}" if self.teacher.words == self.student.words else self.size
        parts = [both, f"CKA {shown(self.similar)}", self.adapter or "no adapter", f"+{self.milliseconds:.1f} ms"]
        return ", ".join([*parts, self.role])

    def words(self) -> tuple[str, ...]:
        """As a row of a table; see ``COLUMNS``."""
        weighs = f"{self.adapter}, {self.parameters:,} parameters" if self.parameters else self.adapter or "none"
        return (
            str(self.teacher),
            str(self.student),
            self.size,
            shown(self.similar),
            weighs,
            f"{self.milliseconds:.1f} ms",
            f"{self.stored / 1024:.1f} KiB",
            self.role,
        )


COLUMNS = ("teacher", "student", "size", "similar", "adapter", "costs", "stored", "why")


@dataclass(frozen=True)
class LeftOut:
    """A layer that is not linked.

    Args:
        side: "teacher" or "student".
        layer: which.
        reason: in a few words; the same for all layers of a kind.
        detail: more of it, such as the neighbour and a number.
    """

    side: str
    layer: Layer
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Proposal:
    """Which layers to link; prints as links and a table.

    Args:
        chosen: the proposed links, from the first layers to the last.
        left_out: every other layer, with its reason.
        teacher_layers: in the order in which they run.
        student_layers: the same of the student.
        similarity: CKA of every pair, a row a layer of the teacher; None where a layer has none.
        inside: how many modules of both are inside of blocks, or give what another gives.
        images: over how many examples the similarity is.
        batch: examples a batch, which the time is of.
        notes: what else is to be known.
        noun: what the examples are: images, texts, sequences.
    """

    chosen: tuple[ProposedLink, ...]
    left_out: tuple[LeftOut, ...]
    teacher_layers: tuple[Layer, ...]
    student_layers: tuple[Layer, ...]
    similarity: Cells
    inside: int
    images: int
    batch: int
    notes: tuple[str, ...] = ()
    noun: str = "examples"

    @property
    def links(self) -> list[str]:
        """The links as texts, for ``Distiller(links=...)`` and recipes."""
        return [link.text for link in self.chosen]

    def __str__(self) -> str:
        rows = [COLUMNS, *(link.words() for link in self.chosen)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
        table = [
            "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([self.pasted, *(table if self.chosen else []), *self.told_left_out(), *notes])

    __repr__ = __str__

    @property
    def pasted(self) -> str:
        """The links as Python and YAML read them."""
        texts = [f'"{text}"' for text in self.links]
        return f"links: [{(',' + chr(10) + ' ' * 8).join(texts)}]"

    def told_left_out(self) -> list[str]:
        """What is left out, a line a reason, counted, and the first few named."""
        lines = []
        groups = Counter((it.side, it.reason) for it in self.left_out)
        for side, reason in groups:
            group = [it for it in self.left_out if (it.side, it.reason) == (side, reason)]
            named = [f"{it.layer}{f' ({it.detail})' if it.detail else ''}" for it in group[:_NAMED]]
            more = f" and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
            lines.append(f"left out: {len(group)} of the {side}, {reason}: {', '.join(named)}{more}")
        if self.inside:
            lines.append(f"left out: {self.inside} modules inside of blocks, or giving what another gives")
        return lines

    def data(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "links": self.links,
            "chosen": [_plain_link(link) for link in self.chosen],
            "left_out": [
                {"side": it.side, "layer": str(it.layer), "reason": it.reason, "detail": it.detail}
                for it in self.left_out
            ],
            "teacher_layers": [_plain_layer(layer) for layer in self.teacher_layers],
            "student_layers": [_plain_layer(layer) for layer in self.student_layers],
            "similarity": [list(row) for row in self.similarity],
            "images": self.images,
            "batch": self.batch,
            "notes": list(self.notes),
        }


_NAMED = 4


def shown(similar: float | None) -> str:
    """A CKA with two digits; a dash where there is none."""
    return "-" if similar is None else f"{similar:.2f}"


def _plain_link(link: ProposedLink) -> dict[str, Any]:
    return {
        "text": link.text,
        "teacher": str(link.teacher),
        "student": str(link.student),
        "cka": link.similar,
        "adapter": link.adapter,
        "parameters": link.parameters,
        "milliseconds": round(link.milliseconds, 4),
        "stored_bytes": link.stored,
        "why": link.line,
    }


def _plain_layer(layer: Layer) -> dict[str, Any]:
    return {"name": str(layer), "shape": list(layer.shape), "kind": layer.kind}
