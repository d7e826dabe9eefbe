"""A list of links as users write it: every one that cannot be read is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from layerlink.errors import Problem, ProblemsError, UsageError, unknown_name
from layerlink.taps import Activations
from layerlink.transfer.link import Link


def link_place(index: int, text: object) -> str:
    """How messages name the link at ``index``."""
    return f'links[{index}] "{text}"'


def read_links(
    links: Iterable[str | Link], teachers: Sequence[str] = ()
) -> tuple[dict[int, Link], list[tuple[int, str]]]:
    """The links that can be read, by their place in the list, and what is wrong with the others.

    Args:
        links: texts or links.
        teachers: the names of several; none where there is one.

    Returns:
        Links by index, and (index, reason) for every text that is no link and every link that stands twice.

    Raises:
        UsageError: where this is no list.
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
        if wrong := _wrong_teacher(link, teachers):
            problems.append((index, wrong))
        elif any(link.text == other.text and link != other for other in readable.values()):
            problems.append((index, "another link has this text: give one a text of its own, Link(..., text='...')"))
        elif any(link == other for other in readable.values()):
            problems.append((index, "this link stands here twice; add up its weights instead"))
        else:
            readable[index] = link
    return readable, problems


def _wrong_teacher(link: Link, teachers: Sequence[str]) -> str:
    """Why a link does not say which teacher it means; empty where it does."""
    if not teachers:
        return f"{link.which}/ names one of several teachers, and there is one: leave it out" if link.which else ""
    if not link.which:
        return f"there are several teachers: say which before the layer, such as {teachers[0]}/{link.text}"
    return "" if link.which in teachers else unknown_name("teacher", link.which, teachers)


def links_error(links: Sequence[str | Link], problems: Iterable[tuple[int, str]]) -> ProblemsError:
    """The error that tells every problem, in the order of the links."""
    ordered = sorted(problems, key=lambda problem: problem[0])
    return ProblemsError("links", [Problem(link_place(index, links[index]), what) for index, what in ordered])


def idle_links(links: Iterable[Link], terms: Mapping[str, Tensor], student: Activations) -> Iterator[tuple[int, str]]:
    """The links that have a weight and teach the student nothing, by their place: at most an adapter of their own."""
    for index, link in enumerate(links):
        term = terms.get(link.text)
        if not link.weight or term is None:
            continue
        if not (term.requires_grad and any(student.values[tap].requires_grad for tap in link.student_taps)):
            named = " + ".join(map(str, link.student_taps))
            yield (
                index,
                f"teaches nothing: no gradient reaches the student's layer {named!r}. It is frozen, an input, "
                "computed under no_grad, or inside a checkpoint with use_reentrant=True (use_reentrant=False would do)",
            )
