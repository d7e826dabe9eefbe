"""Everything about a set of links that one batch shows, before anything is trained, and what links are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from layerlink.adapters import Adapter
from layerlink.errors import UsageError
from layerlink.losses import Context, Facts, ShapeError
from layerlink.taps import Activations, Observed, Tap, trace
from layerlink.taps.classifier import classifier_of
from layerlink.taps.layout import layout_at
from layerlink.teachers import SeveralTeachers, Teacher
from layerlink.transfer.line_maps import Told
from layerlink.transfer.link import Link
from layerlink.transfer.link_list import links_error, read_links
from layerlink.transfer.link_part import LinkPart, advice, build_part
from layerlink.transfer.masks import contexts_of
from layerlink.transfer.objective import missing


@dataclass(frozen=True)
class LinkReport:
    """What is known of one link after one batch.

    Args:
        index: its place in the list.
        text: as the user wrote it.
        teacher_shape: shape of the teacher's activation, the first of several; None where it could not be read.
        student_shape: the same of the student's.
        problems: what is wrong with it, in sentences; empty where it can be trained.
        adapter: what brings the student's activation to the teacher's shape, in words; empty where nothing does.
        parameters: of adapters and loss, trained with the student.
    """

    index: int
    text: str
    teacher_shape: tuple[int, ...] | None
    student_shape: tuple[int, ...] | None
    problems: tuple[str, ...]
    adapter: str = ""
    parameters: int = 0


def inspect_links(
    teacher: nn.Module,
    student: nn.Module,
    links: Sequence[str | Link],
    inputs: Any,
    *,
    facts: Facts | None = None,
) -> list[LinkReport]:
    """Run both models once and report on every link: text, path, how often it runs, shapes, adapters.

    The models are left as they were: mode, buffers (batch norm's running values) and random state.

    Args:
        teacher: any module, run in eval mode.
        student: any module, run in the mode it is in.
        links: as for ``Distiller``.
        inputs: one batch, as for ``Distiller``; two examples are enough.
        facts: as for ``Distiller``.

    Returns:
        One report a link, in the same order.
    """
    return inspect_observed(Observed(teacher, "teacher"), Observed(student, "student"), links, inputs, facts)


def inspect_observed(
    teacher: Observed | Teacher,
    student: Observed,
    links: Sequence[str | Link],
    inputs: Any,
    facts: Facts | None = None,
) -> list[LinkReport]:
    """As ``inspect_links``, of models whose output and arithmetic are known; of several teachers, too."""
    parsed, broken = read_links(links, tuple(teacher.teachers) if isinstance(teacher, SeveralTeachers) else ())
    taught, learned = _traced(list(parsed.values()), teacher, student, inputs)
    reasons = dict(broken)
    reports = []
    for index in range(len(links)):
        link = parsed.get(index)
        if link is None:
            reports.append(LinkReport(index, str(links[index]), None, None, (reasons[index],)))
            continue
        with torch.random.fork_rng():
            part, problems = _tried(link, learned, taught, inputs, facts or Facts(), student, teacher)
        reports.append(_report(index, str(links[index]), link, part, problems, learned, taught))
    return reports


def parts_of(
    links: Sequence[Link], teacher: Observed | Teacher | None, student: Observed, example: Any, facts: Facts
) -> list[LinkPart]:
    """What computes the links, in their order.

    Args:
        links: whose layers are there.
        teacher: as its model is read, or what is asked where there is none; None where there is no teacher.
        student: as it is read.
        example: inputs of two examples; None where there are none: then nothing can have parameters of its own.
        facts: of the training.

    Raises:
        ProblemsError: every link that cannot be built, or with ``example`` compared.
    """
    problems: list[tuple[int, str]] = []
    parts: list[LinkPart] = []
    traced = None
    if example is not None and teacher is not None and links:
        traced = _traced(links, teacher, student, example)
    for index, link in enumerate(links):
        if traced is not None and teacher is not None:
            part, found = _tried(link, traced[1], traced[0], example, facts, student, teacher)
        else:
            part, found = _built(link, None, None, facts, layouts_of(link, student, teacher))
            if part is not None and part.needs & HEADS and teacher is not None:
                try:
                    part.heads = _heads(part, link, teacher, student, None)
                except UsageError as error:
                    found = [str(error)]
        problems += [(index, reason) for reason in found]
        parts += [] if part is None else [part]
    if problems:
        raise links_error(links, problems)
    return parts


def _traced(
    links: Sequence[Link], teacher: Observed | Teacher, student: Observed, inputs: Any
) -> tuple[Activations, Activations]:
    """One pass of each model: all that the links read."""
    asked = _taps(link.teacher_taps for link in links)
    taught = trace(teacher, asked, inputs, evaluate=True) if isinstance(teacher, Observed) else teacher(inputs, asked)
    wanted = _taps(link.student_taps for link in links)
    learned = trace(student, wanted, inputs)
    unread = [tap for tap in wanted if tap not in learned.values]
    if unread and student.model.training:  # a layer may be left out at random; in eval mode all of them run
        for tap, value in trace(student, unread, inputs, evaluate=True).values.items():
            learned.values[tap] = value
            learned.problems.pop(tap, None)
    return taught, learned


def _taps(sides: Iterable[tuple[Tap, ...]]) -> list[Tap]:
    return list(dict.fromkeys(tap for side in sides for tap in side))


def _tried(
    link: Link,
    learned: Activations,
    taught: Activations,
    inputs: Any,
    facts: Facts,
    observed: Observed,
    asked: Observed | Teacher,
) -> tuple[LinkPart | None, list[str]]:
    """A link's part, and what is wrong with it on this batch."""
    unread = missing(link, learned, taught)
    if unread:
        return None, unread
    student, teacher = (
        tuple(given.values[tap] for tap in taps)
        for given, taps in ((learned, link.student_taps), (taught, link.teacher_taps))
    )
    shapes = tuple(tensor.shape for tensor in student), tuple(tensor.shape for tensor in teacher)
    layouts = layouts_of(link, observed, asked)
    part, problems = _built(link, *shapes, facts, layouts)
    if part is None:
        return None, problems
    part.to(student[0].device, _dtype_of(observed.model))
    try:
        part.heads = _heads(part, link, asked, observed, inputs)
        context = contexts_of([link], {link.text: part}, inputs, _example_context(inputs), taught)
        with torch.no_grad(), torch.random.fork_rng(), observed.arithmetic():
            part.eval()(student, teacher, context.get(link.text, _example_context(inputs)))
    except ShapeError as error:
        return part, [advice(link, *shapes, error, layouts)]
    except UsageError as error:
        return part, [str(error)]
    finally:
        part.train()
    return part, []


HEADS = frozenset(("student_head", "teacher_head"))


def _heads(
    part: LinkPart, link: Link, teacher: Observed | Teacher, student: Observed, inputs: Any
) -> dict[str, nn.Module]:
    """The classifiers that a link's loss asks for.

    Raises:
        UsageError: where one cannot be found.
    """
    found = {}
    if "student_head" in part.needs:
        found["student_head"] = classifier_of(student, inputs)
    if "teacher_head" in part.needs:
        one = teacher.teachers[link.which] if isinstance(teacher, SeveralTeachers) else teacher
        observed = one if isinstance(one, Observed) else getattr(one, "observed", None)
        if observed is None:
            raise UsageError(f"{part.name} needs the teacher's classifier, and this teacher gives its outputs alone")
        found["teacher_head"] = classifier_of(observed, inputs)
    return found


def _dtype_of(model: nn.Module) -> torch.dtype | None:
    """Of a model's parameters: what is trained beside them has the same; None leaves it as it is."""
    dtypes = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(dtypes, None)


def layouts_of(link: Link, student: Observed, teacher: Observed | Teacher | None) -> tuple[Told, Told]:
    """What is told of the link's taps; nothing of a teacher of whom no model is known."""
    if isinstance(teacher, SeveralTeachers):
        teacher = teacher.teachers[link.which]
    observed = teacher if isinstance(teacher, Observed) else getattr(teacher, "observed", None)
    model = observed.model if isinstance(observed, Observed) else None
    own = tuple(layout_at(student.model, tap) for tap in link.student_taps)
    return own, tuple(layout_at(model, tap) for tap in link.teacher_taps)


def _built(
    link: Link,
    student: tuple[torch.Size, ...] | None,
    teacher: tuple[torch.Size, ...] | None,
    facts: Facts,
    layouts: tuple[Told, Told],
) -> tuple[LinkPart | None, list[str]]:
    try:
        return build_part(link, student, teacher, facts, layouts), []
    except UsageError as error:
        return None, [str(error)]


def _example_context(inputs: Any) -> Context:
    """What a batch would have: labels and indices that stand in for real ones."""
    first = next((leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.ndim), None)
    if first is None:
        return Context()
    count = torch.arange(len(first), device=first.device)
    return Context(labels=torch.zeros_like(count), indices=count, progress=0.0)


def _report(
    index: int,
    text: str,
    link: Link,
    part: LinkPart | None,
    problems: list[str],
    learned: Activations,
    taught: Activations,
) -> LinkReport:
    teacher = taught.values.get(link.teacher_taps[0])
    student = learned.values.get(link.student_taps[0])
    adapters = cast(list[Adapter], list(part.adapters)) if part is not None else []
    return LinkReport(
        index=index,
        text=text,
        teacher_shape=None if teacher is None else tuple(teacher.shape),
        student_shape=None if student is None else tuple(student.shape),
        problems=tuple(problems),
        adapter=", ".join(adapter.words for adapter in adapters),
        parameters=0 if part is None else sum(parameter.numel() for parameter in part.parameters()),
    )
