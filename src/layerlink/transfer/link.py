"""Links: one teacher tap -> one student tap, with a loss and a weight."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from layerlink.errors import Problem, ProblemsError, UsageError, unknown_name
from layerlink.losses import LINK_LOSSES
from layerlink.taps.tap import Tap

LINK_FORM = "TEACHER -> STUDENT : LOSS * WEIGHT"
OPTIONS_FORM = "scale=none|teacher|gradient, until=EPOCHS, decay=none|linear"
# No \s beside what may be blank itself: thousands of blanks could then be shared out in a billion ways.
_LINK = re.compile(r"(?P<taps>[^:]*):(?P<loss>[^*:,]*)(\*(?P<weight>[^*:,]*))?(,(?P<options>[^:]*))?")

Scale = Literal["none", "teacher", "gradient"]
Decay = Literal["none", "linear"]


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
            weight = "" if self.weight == 1 else f" * {_digits(self.weight)}"
            object.__setattr__(self, "text", f"{taps} : {self.loss}{weight}{self._options()}")

    def _options(self) -> str:
        given = {name: getattr(self, name) for name in ("scale", "until", "decay")}
        return "".join(
            f", {name}={_digits(value) if isinstance(value, float) else value}"
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
        end = min(self.until or epochs, epochs)
        if self.until is not None and epoch >= end:
            return 0.0
        return self.weight * max(1 - epoch / end, 0.0) if self.decay == "linear" else self.weight

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
        match = _LINK.fullmatch(text.strip())
        if match is None:
            raise UsageError(f'expected "{LINK_FORM}", such as "group3.1 -> group3 : mse * 40"')
        names = match["taps"].split("->")
        if len(names) > 2:
            raise UsageError(f'expected one "->" at the most, in "{LINK_FORM}"; write a link for each pair')
        teacher, student = Tap.parse(names[0]), Tap.parse(names[-1])
        options = _parse_options(match["options"])
        return cls(teacher, student, match["loss"].strip(), _weight(match["weight"]), text=text.strip(), **options)

    def __str__(self) -> str:
        return self.text


def _weight(text: str | None) -> float:
    return 1.0 if text is None else _number("weight", text)


def _parse_options(text: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in text.split(",") if text is not None else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise UsageError(f"expected options such as {OPTIONS_FORM} after the comma; got {part.strip()!r}")
        if name not in ("scale", "until", "decay"):
            raise UsageError(unknown_name("option of a link", name, ("scale", "until", "decay")))
        if name in options:
            raise UsageError(f"the option {name} stands here twice")
        options[name] = _number("until", value) if name == "until" else value
    return options


def _digits(value: float) -> str:
    """A number in as few digits as give it back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value).removesuffix(".0")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"a link's {name} must be a number; got {text.strip()!r}") from None


def link_place(index: int, text: object) -> str:
    """How messages name the link at ``index``."""
    return f'links[{index}] "{text}"'


def read_links(links: Iterable[str | Link]) -> tuple[dict[int, Link], list[tuple[int, str]]]:
    """The links that can be read, by their place in the list, and what is wrong with the others.

    Returns:
        Links by index, and (index, reason) for every text that is no link and every link that stands twice.
    """
    if isinstance(links, str) or not isinstance(links, Iterable):
        raise UsageError(f'links must be a list, such as ["group2 : mse * 40"]; got {links!r}')
    readable: dict[int, Link] = {}
    problems: list[tuple[int, str]] = []
    for index, item in enumerate(links):
        try:
            link = item if isinstance(item, Link) else Link.parse(item)
        except AttributeError:
            problems.append((index, f"a link is a text or a layerlink.Link; got {type(item).__name__}"))
            continue
        except UsageError as error:
            problems.append((index, str(error)))
            continue
        if any(link == other or link.text == other.text for other in readable.values()):
            problems.append((index, "this link stands here twice; add up its weights instead"))
        else:
            readable[index] = link
    return readable, problems


def links_error(links: Sequence[str | Link], problems: Iterable[tuple[int, str]]) -> ProblemsError:
    """The error that tells every problem, in the order of the links."""
    ordered = sorted(problems, key=lambda problem: problem[0])
    return ProblemsError("links", [Problem(link_place(index, links[index]), what) for index, what in ordered])
