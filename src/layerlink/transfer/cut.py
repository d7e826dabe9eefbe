"""A batch's outputs compared in pieces: logits are made, compared and forgotten, so many tokens at a time.

The plain way holds the logits (N, L, V) of both models, their softmaxes and gradients at once. Here only the hidden
states that they are made of are held, and the same numbers come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from layerlink.errors import UsageError
from layerlink.losses import Context
from layerlink.losses.in_pieces import slices
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.taps.observed import Arithmetic
from layerlink.tasks import CausalLM, SequenceLabelling
from layerlink.tasks.tokens import following
from layerlink.transfer.terms import HardTerm, LinkTerm, SoftTerm, Term, as_labels

AT_ONCE = 2**23  # scores of a model: 32 MB in float32


@dataclass(frozen=True)
class Head:
    """The linear layer that makes a model's logits.

    Args:
        layer: it.
        tap: what goes into it.
        arithmetic: in which it runs.
    """

    layer: nn.Linear
    tap: Tap
    arithmetic: Arithmetic


@dataclass(frozen=True)
class Cut:
    """A batch that is compared in pieces.

    Args:
        task: says which token is to be told where.
        layer: the student's head.
        student: what was read of it; in the output's place stands what goes into its head.
        taught: the same of the teacher; its output where ``head`` is None.
        head: the teacher's.
    """

    task: CausalLM
    layer: nn.Linear
    student: Activations
    taught: Activations | None
    head: Head | None

    def __call__(self, terms: Iterable[Term], contexts: Mapping[str, Context]) -> dict[str, Tensor]:
        """The raw values of the terms that compare outputs, by name.

        Args:
            terms: of the objective.
            contexts: of every term, by name.
        """
        hidden = self.student.values[OUTPUT].flatten(0, 1)
        parts = [self._part(term, contexts[term.name]) for term in terms if OUTPUT in term.of_student]
        if not parts:
            return {}
        layer = self.layer
        rows = max(AT_ONCE // layer.out_features, 1)
        compare = _Compare(self, parts, self._taught_rows(parts), rows)
        values: Tensor = _InPieces.apply(hidden, layer.weight, layer.bias, compare)  # type: ignore[no-untyped-call]
        return {part.term.name: value for part, value in zip(parts, values.unbind(), strict=True)}

    def _part(self, term: Term, context: Context) -> _Part:
        """A term over single tokens, each with the one that is to be told: nothing is shifted any more."""
        task, labels = self.task, context.labels
        hidden = self.student.values[OUTPUT]
        flat = SequenceLabelling(ignore=task.ignore, unlabelled=task.unlabelled)
        is_tokens = isinstance(labels, Tensor) and labels.shape == hidden.shape[:2]
        wanted = following(labels, task.ignore) if isinstance(labels, Tensor) and is_tokens else None
        mask = context.mask if isinstance(term, LinkTerm) else task.positions(hidden, labels, context.mask)
        counted: Tensor | None = mask
        if isinstance(term, HardTerm):
            given = as_labels(labels)
            if wanted is None:
                raise UsageError(
                    f"the hard loss of the task {task.name} needs labels {tuple(hidden.shape[:2])}, the tokens "
                    f"themselves; got {tuple(given.shape)}"
                )
            counted = flat.known(wanted, mask)
        if isinstance(term, HardTerm | SoftTerm):
            term = replace(term, task=flat)
        rows = [None if it is None else it.flatten() for it in (wanted, mask, counted)]
        whole = hidden.shape[:2].numel() if counted is None else counted.sum().clamp_min(1)
        return _Part(term, context, rows[0], rows[1], rows[2], whole)

    def _taught_rows(self, parts: Iterable[_Part]) -> dict[Tap, Tensor]:
        """What the terms read of the teacher, a row a token."""
        given = {} if self.taught is None else self.taught.values
        taps = dict.fromkeys(tap for part in parts for tap in part.term.of_teacher)
        missing = [tap for tap in taps if tap not in given]
        if missing:
            problems = {} if self.taught is None else self.taught.problems
            raise UsageError(problems.get(missing[0], "the soft loss needs the logits of both models"))
        return {tap: given[tap].flatten(0, 1) for tap in taps}


@dataclass(frozen=True)
class _Part:
    """A term; of every token (T,) what is to be told, whether it is compared, whether it counts; how many do."""

    term: Any
    context: Context
    wanted: Tensor | None
    mask: Tensor | None
    counted: Tensor | None
    whole: Tensor | int

    def value(self, logits: Tensor, taught: Activations, rows: slice) -> Tensor:
        """What these tokens add to the mean over all."""
        context = replace(self.context, labels=_row(self.wanted, rows), mask=_row(self.mask, rows))
        counted = _row(self.counted, rows)
        here = logits.shape[1] if counted is None else counted.sum()
        value: Tensor = self.term(Activations(logits), taught, context)
        return value * here / self.whole


def _row(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows][None]


@dataclass(frozen=True)
class _Compare:
    """Compares the logits of some tokens."""

    cut: Cut
    parts: list[_Part]
    taught: dict[Tap, Tensor]
    rows: int

    def __call__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: slice) -> Tensor:
        """(terms,): what the tokens at ``rows`` add to each, from what goes into the student's head (t, D)."""
        layer = self.cut.layer
        named = {"weight": weight} | ({} if bias is None else {"bias": bias})
        logits = functional_call(layer, named, (hidden,))[None]
        values = {tap: self._of_teacher(tap, value[rows])[None] for tap, value in self.taught.items()}
        given = Activations(None, values)
        return torch.stack([part.value(logits, given, rows) for part in self.parts])

    @torch.no_grad()
    def _of_teacher(self, tap: Tap, value: Tensor) -> Tensor:
        head = self.cut.head
        if tap != OUTPUT or head is None:
            return value
        with head.arithmetic():
            made: Tensor = head.layer(value)
        return made


class _InPieces(torch.autograd.Function):
    """The sum of what pieces give; the backward pass makes each piece again and keeps nothing of it but gradients."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, compare: _Compare) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias)
        ctx.compare, ctx.arithmetic = compare, _arithmetic_of(hidden.device)
        of_head = _as_multiplied(weight), None if bias is None else _as_multiplied(bias)
        values = [compare(hidden[rows], *of_head, rows) for rows in slices(len(hidden), compare.rows)]
        return torch.stack(values).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        compare: _Compare = ctx.compare
        given = (hidden, weight) if bias is None else (hidden, weight, bias)
        sums = [torch.zeros_like(it) for it in given]
        with ctx.arithmetic():
            of_head = [_as_multiplied(it).requires_grad_() for it in given[1:]]
            for rows in slices(len(hidden), compare.rows):
                some = hidden[rows].detach().requires_grad_()
                with torch.enable_grad():
                    values = compare(some, of_head[0], None if bias is None else of_head[1], rows)
                changes = torch.autograd.grad(values, [some, *of_head], grad)
                for into, change in zip((sums[0][rows], *sums[1:]), changes, strict=True):
                    into.add_(change)
        needed = ctx.needs_input_grad
        return sums[0], sums[1] if needed[1] else None, sums[2] if needed[2] else None, None


def _as_multiplied(weight: Tensor) -> Tensor:
    """A weight as autocast would have it in products, once for all pieces."""
    kind = weight.device.type
    if torch.is_autocast_enabled(kind) and weight.dtype == torch.float32:
        return weight.detach().to(torch.get_autocast_dtype(kind))
    return weight.detach()


def _arithmetic_of(device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """Makes the context that is on now: backward passes run outside of it."""
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype, enabled=enabled, cache_enabled=False)
