"""Links: one teacher tap -> one student tap, with a loss and a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from layerlink.errors import UsageError, unknown_name
from layerlink.losses import LINK_LOSSES
from layerlink.taps import Tap
from layerlink.transfer.link_text import digits, parse_link
from layerlink.transfer.schedule import Decay, weight_at

Scale = Literal["none", "teacher", "gradient"]


@dataclass(frozen=True)
class Link:
    """A pair of linked layers.

    Args:
        teacher: where the teacher is read.
        student: where the student is read.
        loss: a name in ``LINK_LOSSES``.
        weight: beta >= 0, the factor in the weighted total.
        scale: what else the loss is multiplied by, see ``LinkScales``: "none"; "teacher", 1 / variance of the
            teacher's activation; "gradient", so that ``weight`` is the ratio of the link's gradient to that of the
            labels. None: what is set for all links.
        until: the link ends after so many epochs, > 0. None: what is set for all links, or never.
        decay: "linear" lets the weight fall to 0 at the end of the link, or of the training; "none" keeps it.
            None: what is set for all links.
        text: the link as the user wrote it; it names the link's term. Made from the rest where empty.

    Raises:
        UsageError: for an unknown loss, or an impossible weight or option.
    """

    teacher: Tap
    student: Tap
    loss: str = "mse"
    weight: float = 1.0
    scale: Scale | None = None
    until: float | None = None
    decay: Decay | None = None
    text: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.loss not in LINK_LOSSES:
            raise UsageError(unknown_name("loss", self.loss, LINK_LOSSES))
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"a link's weight must be a finite number >= 0; got {self.weight:g}")
        for name, kind in (("scale", Scale), ("decay", Decay)):
            if getattr(self, name) not in (None, *get_args(kind)):
                raise UsageError(unknown_name(name, str(getattr(self, name)), get_args(kind)))
        if self.until is not None and not (math.isfinite(self.until) and self.until > 0):
            raise UsageError(f"a link's until must be a finite number of epochs > 0; got {self.until:g}")
        if not self.text:
            taps = str(self.student) if self.teacher == self.student else f"{self.teacher} -> {self.student}"
            weight = "" if self.weight == 1 else f" * {digits(self.weight)}"
            object.__setattr__(self, "text", f"{taps} : {self.loss}{weight}{self._options()}")

    def _options(self) -> str:
        given = {name: getattr(self, name) for name in ("scale", "until", "decay")}
        return "".join(
            f", {name}={digits(value) if isinstance(value, float) else value}"
            for name, value in given.items()
            if value is not None
        )

    def filled(self, **defaults: Any) -> Link:
        """The link with ``scale``, ``until`` and ``decay`` from ``defaults`` where it leaves them open."""
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def weight_at(self, epoch: float, epochs: float) -> float:
        """The weight at a time; 0 when the link is over.

        Args:
            epoch: since the start of the training, in epochs, fractions included.
            epochs: of the whole training.
        """
        return weight_at(self.weight, self.until, self.decay, epoch, epochs)

    @classmethod
    def parse(cls, text: str) -> Link:
        """The link that ``text`` describes: ``TEACHER -> STUDENT : LOSS * WEIGHT``.

        One name stands for both where they are the same; a weight of 1 may be left out. Options follow after a
        comma: ``group3 : mse * 0.5, scale=gradient, until=3``.

        Raises:
            UsageError: where the text has not that form.

        >>> link = Link.parse("group3.1 -> group3 : mse * 40")
        >>> link.teacher.module, link.student.module, link.loss, link.weight
        ('group3.1', 'group3', 'mse', 40.0)
        """
        parts = parse_link(text)
        return cls(parts.teacher, parts.student, parts.loss, parts.weight, text=text.strip(), **parts.options)

    def __str__(self) -> str:
        return self.text
