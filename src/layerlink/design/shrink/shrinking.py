"""From a teacher and a budget to a student that has begun as the teacher's, with source, weights and links."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from layerlink.design.propose.batches import device_of, few, whole_batches
from layerlink.design.shrink.budget import Budget, nearest, share_of
from layerlink.design.shrink.fitting import MOST_INPUTS, fit_collapsed
from layerlink.design.shrink.links import links_between
from layerlink.design.shrink.passes import run_pass
from layerlink.design.shrink.reducing import Reduced, reduce_depth
from layerlink.design.shrink.runs import Run, find_runs
from layerlink.design.shrink.source.writing import source_of
from layerlink.design.shrink.width import narrowed
from layerlink.errors import LayerlinkError, UsageError
from layerlink.measure.flops import count_flops, count_parameters

MOST_BATCHES = 8
STARTS = ("fit", "copy")
_NARROWEST = 0.02  # of the channels
_STEPS = 10  # of halving
_TRIES = 3


@dataclass(frozen=True)
class Shrunk:
    """A student that was derived from a teacher.

    Args:
        model: the student, in eval mode, its weights begun as the teacher's.
        source: of a module with ``build()``, plain PyTorch.
        links: texts for ``Distiller(links=...)`` and recipes.
        shares: by ``params``, ``flops`` and the budget's kind what it costs over what the teacher costs, as measured.
        counts: parameters and FLOPs of teacher and student.
        kept: of each run of layers its place, how many are left, of how many.
        width: share of the channels that were asked to stay, 1 where all do.
        explained: by collapsed layer the share of variance that its fit explains; empty where none was fitted.
        notes: what there is to know.
    """

    model: nn.Module
    source: str
    links: list[str]
    shares: dict[str, float]
    counts: dict[str, tuple[int, int]]
    kept: tuple[tuple[str, int, int], ...]
    width: float
    explained: dict[str, float]
    notes: tuple[str, ...] = ()


def shrink(
    teacher: nn.Module,
    batches: Any,
    *,
    params: float | None = None,
    flops: float | None = None,
    latency: float | None = None,
    collapse: bool = False,
    start: str = "fit",
) -> Shrunk:
    """A smaller student from a teacher: fewer layers, where that is not enough fewer channels.

    Blocks that are repeated are left out evenly; layers with one weight each that follow each other collapse into one.
    The teacher stays as it was.

    Args:
        teacher: any module, trained.
        batches: real ones, of what it takes, as for ``propose``; looked at are 8 at most.
        params: the student's parameters over the teacher's, above 0 and below 1.
        flops: the same of floating-point operations.
        latency: the same of milliseconds of a pass on the first batch, measured here.
        collapse: leave one layer of every run, with no budget.
        start: ``fit``: layers that stand for several are fitted to them by least squares on the batches; ``copy``: they
            begin as the first of them.

    Returns:
        The student, within a tenth of the budget.

    Raises:
        UsageError: where the budget cannot be met, the model has nothing to leave out, or its source cannot be written.
        LayerlinkError: where channels must become fewer and torch-pruning is missing.
    """
    asked = {kind: share for kind, share in (("params", params), ("flops", flops), ("latency", latency)) if share}
    if len(asked) + collapse != 1:
        raise UsageError("give one of params, flops and latency (such as params=0.25), or collapse=True")
    if start not in STARTS:
        raise UsageError(f"start must be {' or '.join(STARTS)}; got {start!r}")
    budget = Budget(*next(iter(asked.items()))) if asked else None
    whole = whole_batches(batches, teacher, MOST_BATCHES)
    teacher_was = teacher.training
    teacher.eval()
    try:
        return _Search(teacher, whole, start).student(budget)
    finally:
        teacher.train(teacher_was)


class _Search:
    """Looks for the student."""

    def __init__(self, teacher: nn.Module, batches: Sequence[Any], start: str) -> None:
        self.teacher, self.batches, self.start = teacher, batches, start
        self.example = few(batches[0])
        self.device = device_of(teacher)
        self.runs: list[Run] = find_runs(teacher, run_pass(teacher, self.example))

    def student(self, budget: Budget | None) -> Shrunk:
        if budget is None:
            if not self.runs:
                raise UsageError("nothing to collapse: no layers of one shape follow each other")
            return self._finished(self._reduced([1] * len(self.runs)), 1.0, None)
        for _ in range(_TRIES):  # measured again at the end, times may differ
            found = self._once(budget)
            if budget.met(found.shares[budget.kind]):
                break
        return found

    def _once(self, budget: Budget) -> Shrunk:
        best, share = nearest(self._depths(), partial(self._cost_of_depth, budget.kind), budget)
        if budget.met(share):
            return self._finished(self._reduced(best), 1.0, budget)
        return self._narrower(budget, share)

    def _depths(self) -> list[list[int]]:
        """Numbers of layers kept in every run, from all to one, a layer fewer at a time where most are left."""
        kept = [len(run.units) for run in self.runs]
        found = [kept]
        while any(count > 1 for count in kept):
            longest = max(
                range(len(kept)), key=lambda place: (kept[place] > 1, kept[place] / len(self.runs[place].units), place)
            )
            kept = [count - (place == longest) for place, count in enumerate(kept)]
            found.append(kept)
        return found

    def _cost_of_depth(self, kind: str, kept: Sequence[int]) -> float:
        return self._cost(kind, reduce_depth(self.teacher, self.runs, kept).model)

    def _cost(self, kind: str, model: nn.Module) -> float:
        inputs = self.batches[0] if kind == "latency" else self.example
        return share_of(kind, model, self.teacher, inputs, self.device)

    def _reduced(self, kept: Sequence[int]) -> Reduced:
        return reduce_depth(self.teacher, self.runs, kept)

    def _narrower(self, budget: Budget, closest: float) -> Shrunk:
        """Half of the way by depth, the rest by width; else with other depths."""
        for kept in self._depths_to_narrow(budget):
            reduced = self._reduced(kept)
            fitted = self._fitted(reduced)
            try:
                model, width, found = self._by_width(reduced.model, budget)
            except LayerlinkError as error:
                raise UsageError(f"{_cannot(budget, closest, 'with fewer layers alone')}. And {error}") from error
            if budget.met(found):
                return self._finished(Reduced(model, (), reduced.paths, reduced.kept), width, budget, fitted)
            closest = min(closest, found, key=budget.distance)
        raise UsageError(_cannot(budget, closest, "with fewer layers and channels"))

    def _depths_to_narrow(self, budget: Budget) -> list[list[int]]:
        depths, cost = self._depths(), partial(self._cost_of_depth, budget.kind)
        found = [depths[0]]
        for share in (budget.share, math.sqrt(budget.share)):
            kept, costs = nearest(depths, cost, Budget(budget.kind, share))
            if costs > budget.share and kept not in found:
                found.insert(0, kept)
        return found if len(found) < 3 else [found[0], found[2], found[1]]

    def _by_width(self, model: nn.Module, budget: Budget) -> tuple[nn.Module, float, float]:
        low, high = _NARROWEST, 1.0
        best: tuple[nn.Module, float, float] | None = None
        for _ in range(_STEPS):
            width = (low + high) / 2
            student = narrowed(model, width, self.example)
            share = self._cost(budget.kind, student)
            if best is None or budget.distance(share) < budget.distance(best[2]):
                best = student, width, share
            if budget.distance(share) < 0.02:
                break
            low, high = (low, width) if share > budget.share else (width, high)
        assert best is not None  # noqa: S101 - there is at least one step
        return best

    def _fitted(self, reduced: Reduced) -> dict[str, float]:
        if self.start == "copy" or not reduced.collapsed:
            return {}
        return fit_collapsed(self.teacher, reduced.collapsed, self.batches)

    def _finished(
        self, reduced: Reduced, width: float, budget: Budget | None, fitted: dict[str, float] | None = None
    ) -> Shrunk:
        explained = self._fitted(reduced) if fitted is None else fitted
        model = reduced.model.eval()
        source, notes = source_of(model, self.example, _about(reduced, width))
        unfitted = [it.last for it in reduced.collapsed if self.start == "fit" and it.last not in explained]
        if unfitted:
            notes.append(f"not fitted, since they have more than {MOST_INPUTS} inputs: {', '.join(unfitted)}")
        shares = {kind: self._cost(kind, model) for kind in dict.fromkeys(("params", "flops", *_kind(budget)))}
        if budget is not None and not budget.met(shares[budget.kind]):
            notes.append(
                f"{budget.kind}: {shares[budget.kind]:.3f} of the teacher's when it was measured again; times vary here"
            )
        counts = {
            "params": (count_parameters(self.teacher), count_parameters(model)),
            "flops": (count_flops(self.teacher, self.example), count_flops(model, self.example)),
        }
        links = links_between(self.teacher, model, self.runs, reduced, self.example)
        return Shrunk(model, source, links, shares, counts, reduced.kept, width, explained, tuple(notes))


def _kind(budget: Budget | None) -> tuple[str, ...]:
    return () if budget is None else (budget.kind,)


def _cannot(budget: Budget, closest: float, how: str) -> str:
    return (
        f"{budget.kind}: {budget.share:g} of the teacher's cannot be met {how}; the closest is {closest:.3f}: "
        f"--{budget.kind} {closest:.3f}"
    )


def _about(reduced: Reduced, width: float) -> str:
    runs = ", ".join(f"{count} of {of} layers{f' of {place}' if place else ''}" for place, count, of in reduced.kept)
    wide = "" if width == 1 else f"{'; ' if runs else ''}{100 * width:.0f} % of the channels"
    return f"A student derived from a teacher: {runs}{wide}." if runs or wide else "A student."
