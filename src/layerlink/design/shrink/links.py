"""Links between a teacher and the student that was made of it: what stands in whose place is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from layerlink.design.masking import where_of
from layerlink.design.shrink.passes import Pass, run_pass
from layerlink.design.shrink.reducing import Reduced, evenly
from layerlink.design.shrink.runs import Run
from layerlink.transfer import Link

MOST = 6  # where there is one run alone, as in a transformer


def links_between(
    teacher: nn.Module, student: nn.Module, runs: Sequence[Run], reduced: Reduced, example: Any
) -> list[str]:
    """The end of every run in the teacher teaches its end in the student; of one run alone, up to 6 of its layers."""
    passes = run_pass(teacher, example), run_pass(student, example)
    order = {call.path: place for place, call in enumerate(passes[0].calls)}
    single = len(runs) == 1
    pairs: list[tuple[str, str]] = []
    for run in runs:
        left = [
            (unit.paths[-1], reduced.paths[unit.paths[-1]]) for unit in run.units if unit.paths[-1] in reduced.paths
        ]
        left[-1] = run.units[-1].paths[-1], left[-1][1]
        pairs += [left[place] for place in evenly(min(MOST, len(left)), len(left))] if single else left[-1:]
    pairs.sort(key=lambda pair: order[pair[0]])
    links = [_text(_outer(passes[0], one), _outer(passes[1], other), example) for one, other in pairs]
    return list(dict.fromkeys(link for link in links if link is not None))


def _outer(seen: Pass, path: str) -> tuple[str, tuple[int, ...]]:
    """The outermost module that gives the same tensor, and its shape."""
    call = seen.once(path)
    gave = None if call is None else call.gave
    while "." in path and gave is not None:
        parent = path.rpartition(".")[0]
        outer = seen.once(parent)
        if outer is None or outer.gave is not gave:
            break
        path = parent
    return path, () if gave is None else tuple(gave.shape)


def _text(one: tuple[str, tuple[int, ...]], other: tuple[str, tuple[int, ...]], example: Any) -> str | None:
    if not one[1] or not other[1]:
        return None
    where = where_of(example, other[1])
    options = ["mse", "scale=teacher", *([] if one[1] == other[1] else ["adapter=auto"])]
    options += [f"where={where}"] if where else []
    return Link.parse(f"{one[0]} -> {other[0]} : {', '.join(options)}").text
