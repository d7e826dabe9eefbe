"""Everything about a set of links that one batch shows, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from layerlink.taps import Activations, Observed, trace
from layerlink.transfer.link import Link
from layerlink.transfer.link_list import read_links
from layerlink.transfer.objective import Objective


@dataclass(frozen=True)
class LinkReport:
    """What is known of one link after one batch.

    Args:
        index: its place in the list.
        text: as the user wrote it.
        teacher_shape: shape of the teacher's activation; None where it could not be read.
        student_shape: the same of the student's.
        problems: what is wrong with it, in sentences; empty where it can be trained.
    """

    index: int
    text: str
    teacher_shape: tuple[int, ...] | None
    student_shape: tuple[int, ...] | None
    problems: tuple[str, ...]


def inspect_links(teacher: nn.Module, student: nn.Module, links: Sequence[str | Link], inputs: Any) -> list[LinkReport]:
    """Run both models once and report on every link: text, path, how often it runs, shapes.

    The models are left as they were: mode, buffers (batch norm's running values) and random state.

    Args:
        teacher: any module, run in eval mode.
        student: any module, run in the mode it is in.
        links: as for ``Distiller``.
        inputs: one batch, as for ``Distiller``; two examples are enough.

    Returns:
        One report a link, in the same order.
    """
    return inspect_observed(Observed(teacher, "teacher"), Observed(student, "student"), links, inputs)


def inspect_observed(
    teacher: Observed, student: Observed, links: Sequence[str | Link], inputs: Any
) -> list[LinkReport]:
    """As ``inspect_links``, of models whose output and arithmetic are known."""
    parsed, broken = read_links(links)
    taught = trace(teacher, [link.teacher for link in parsed.values()], inputs, evaluate=True)
    learned = trace(student, [link.student for link in parsed.values()], inputs)
    problems: dict[int, list[str]] = {index: [reason] for index, reason in broken}
    if parsed:
        order = list(parsed)
        for position, reason in Objective(links=tuple(parsed.values())).link_problems(learned, taught):
            problems.setdefault(order[position], []).append(reason)
    return [_report(index, links[index], parsed.get(index), taught, learned, problems) for index in range(len(links))]


def _report(
    index: int,
    item: str | Link,
    link: Link | None,
    taught: Activations,
    learned: Activations,
    problems: dict[int, list[str]],
) -> LinkReport:
    teacher = taught.values.get(link.teacher) if link else None
    student = learned.values.get(link.student) if link else None
    return LinkReport(
        index=index,
        text=str(item),
        teacher_shape=None if teacher is None else tuple(teacher.shape),
        student_shape=None if student is None else tuple(student.shape),
        problems=tuple(problems.get(index, ())),
    )
