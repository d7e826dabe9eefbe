"""Links: one teacher tap -> one student tap, with a loss and a weight."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from layerlink.errors import Problem, ProblemsError, UsageError, unknown_name
from layerlink.losses import LINK_LOSSES
from layerlink.transfer.taps import Tap

LINK_FORM = "TEACHER -> STUDENT : LOSS * WEIGHT"
_LINK = re.compile(r"(?P<taps>[^:]*):\s*(?P<loss>[^*:]*?)\s*(\*\s*(?P<weight>[^*:]*))?")


@dataclass(frozen=True)
class Link:
    """A pair of linked layers.

    Args:
        teacher: where the teacher is read.
        student: where the student is read.
        loss: a name in ``LINK_LOSSES``.
        weight: beta >= 0, the factor in the weighted total.
        text: the link as the user wrote it; it names the link's term. Made from the rest where empty.

    Raises:
        UsageError: for an unknown loss or an impossible weight.
    """

    teacher: Tap
    student: Tap
    loss: str = "mse"
    weight: float = 1.0
    text: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.loss not in LINK_LOSSES:
            raise UsageError(unknown_name("loss", self.loss, LINK_LOSSES))
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"a link's weight must be a finite number >= 0; got {self.weight:g}")
        if not self.text:
            taps = str(self.student) if self.teacher == self.student else f"{self.teacher} -> {self.student}"
            weight = "" if self.weight == 1 else f" * {self.weight:g}"
            object.__setattr__(self, "text", f"{taps} : {self.loss}{weight}")

    @classmethod
    def parse(cls, text: str) -> Link:
        """The link that ``text`` describes: ``TEACHER -> STUDENT : LOSS * WEIGHT``.

        One name stands for both where they are the same; a weight of 1 may be left out.

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
        return cls(teacher, student, match["loss"], _weight(match["weight"]), text=text.strip())

    def __str__(self) -> str:
        return self.text


def _weight(text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"a link's weight must be a number; got {text.strip()!r}") from None


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
