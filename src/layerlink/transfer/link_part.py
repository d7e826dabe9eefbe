"""What computes a link: adapters from the student's shapes to the teacher's, and the loss. Trained with the student."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Size, Tensor, nn

from layerlink.adapters import Adapter, fit, kinds_that_fit
from layerlink.errors import UsageError
from layerlink.losses import LOSSES, Context, Facts, LossKind, ShapeError, loss_kind
from layerlink.transfer.across import Across, share_of
from layerlink.transfer.line_maps import LineMaps, Told, as_maps, as_read, line_shapes, map_shapes
from layerlink.transfer.link import Link
from layerlink.transfer.link_text import parse_call

Shapes = tuple[Size, ...]


class LinkPart(nn.Module):
    """Computes a link from what was read.

    Args:
        kind: the loss's facts.
        name: of the loss, for messages.
        loss: of the tensors of both sides: two tensors, or two tuples where the loss compares several taps a side.
        adapters: one a tap of the student; none where shapes are compared as they are.
        lines: which activations (N, C, L) are taken for maps; a loss of the user's own gets them as they are read.
    """

    def __init__(
        self,
        kind: LossKind,
        name: str,
        loss: Callable[..., Any],
        adapters: Sequence[nn.Module] = (),
        lines: LineMaps | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.name = name
        self.needs = kind.needs()
        self.loss = loss  # a module of its own is found by ``parameters()`` through this
        self.adapters = nn.ModuleList(adapters)
        self.lines = lines or LineMaps()
        self.is_own = kind.make not in _OURS
        self.heads: dict[str, nn.Module] = {}  # classifiers that the loss asks for; not modules of the link
        self.across: Across | None = None  # set where several processes have a part of the batch each
        self.share = 1.0  # see ``Losses.shares``; of the last batch

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], context: Context) -> Tensor:
        """The raw loss, a scalar.

        Args:
            student: an activation a tap.
            teacher: the same, without gradients.
            context: of the batch.

        Raises:
            ShapeError: where the two sides cannot be compared.
            UsageError: where the loss needs something of the batch that is not there.
        """
        student, teacher, lines = self._adapted(student, teacher), self.prepared(teacher), self._lines(student, teacher)
        if self.is_own:  # who writes a loss need not know that maps may lie channels last, or have a row more
            student, teacher = (
                tuple(value.contiguous() for value in as_read(side, taken))
                for side, taken in zip((student, teacher), lines, strict=True)
            )
            if lines[1][0] and context.mask is not None:  # it is at the places of the first tap
                context = replace(context, mask=context.mask[:, 0])
        if self.across is not None:
            student, teacher, context = self._whole(student, teacher, context)
        given = {need: getattr(context, need) for need in self.needs} | self.heads
        missing = [need for need, value in given.items() if value is None and need not in _MAY_BE_MISSING]
        if missing:
            raise UsageError(f"{self.name} needs {' and '.join(_WORDS.get(need, need) for need in missing)}")
        if context.mask is not None and "mask" not in self.needs:
            raise UsageError(f"{self.name} takes no mask: leave out where=")
        loss: Tensor = (
            self.loss(student[0], teacher[0], **given) if self.kind.taps == 1 else self.loss(student, teacher, **given)
        )
        return self._single(loss) if self.is_own else loss

    def _single(self, loss: Any) -> Tensor:
        """What a loss of the user's own gives.

        Raises:
            UsageError: where it is no loss.
        """
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            got = f"{loss.dtype} {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise UsageError(f"{self.name} must give a single floating-point number with a gradient, a mean; got {got}")
        return loss.reshape(())

    def loss_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the loss, without the adapters'."""
        if isinstance(self.loss, nn.Module):
            yield from (parameter for parameter in self.loss.parameters() if parameter.requires_grad)

    def prepared(self, teacher: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The teacher's activations as they are compared: without class tokens, say."""
        taken = self.lines.of_teacher([value.shape for value in teacher])
        given = teacher if self.lines.after else as_maps(teacher, taken)
        if self.adapters:
            adapters = cast(Iterable[Adapter], self.adapters)
            given = tuple(adapter.prepare(value) for adapter, value in zip(adapters, given, strict=True))
        return as_maps(given, taken) if self.lines.after else given

    def _adapted(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The student's activations as they are compared."""
        if not self.lines.after:
            student = as_maps(student, self.lines.of_student([value.shape for value in student]))
        if self.adapters:
            student = tuple(adapter(value) for adapter, value in zip(self.adapters, student, strict=True))
        return as_maps(student, self._lines(student, teacher)[0]) if self.lines.after else student

    def _lines(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> tuple[list[bool], list[bool]]:
        """Which activations of both sides are compared as maps of one row."""
        of_teacher = self.lines.of_teacher([value.shape for value in teacher])
        of_student = of_teacher if self.adapters else self.lines.of_student([value.shape for value in student])
        return of_student, of_teacher

    def _whole(
        self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], context: Context
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Context]:
        """What the loss compares where this process has a part of the batch, and how much the part counts.

        A loss between images is of the whole batch in every process, with the gradient of this part; one with a mask
        counts by what its mask keeps; any other by its images.
        """
        across = self.across
        assert across is not None  # noqa: S101 - asked before
        self.share = 1.0
        if self.kind.between_images:
            self.share = 1 / across.share if across.share else 0.0
            student, teacher = (tuple(map(across.gather, side)) for side in (student, teacher))
            labels, indices, mask = (
                None if value is None else across.gather(value)
                for value in (context.labels, context.indices, context.mask)
            )
            context = replace(context, labels=labels, indices=indices, mask=mask)
        elif context.mask is not None:
            self.share = share_of(self.counted(context.mask), across)
        return student, teacher, context

    def counted(self, mask: Tensor) -> Tensor:
        """How much the loss is a mean over where it has a mask: a scalar on the mask's device."""
        options = self.loss.keywords if isinstance(self.loss, partial) else {}
        return self.kind.counted(mask, **options).sum()


_OURS = [kind.make for kind in LOSSES.values()]
_MAY_BE_MISSING = ("mask", "progress", "views")
_WORDS = {
    "labels": "labels: pass them as target",
    "indices": "the examples' indices: pass indices=",
    "student_head": "the student's classifier: pass example=, or student_head='LAYER'",
    "teacher_head": "the teacher's classifier: pass example=, or teacher_head='LAYER'",
}


def needs_shapes(link: Link) -> bool:
    """Whether the link has something to be made from shapes: an adapter, or a loss with parameters of its own."""
    return link.adapter is not None or loss_kind(link.loss).is_module


def build_part(
    link: Link,
    student: Shapes | None = None,
    teacher: Shapes | None = None,
    facts: Facts | None = None,
    layouts: tuple[Told, Told] = ((), ()),
) -> LinkPart:
    """What computes ``link``.

    Args:
        link: which.
        student: shapes of one traced batch, one a tap; None where they are not known.
        teacher: the same of the teacher.
        facts: of the training.
        layouts: what is told of the taps of the student and of the teacher, see ``layout_at``.

    Raises:
        UsageError: where a loss of one's own cannot be imported, a number of taps or shapes do not fit, or shapes or
            facts are needed and not known.
    """
    kind = loss_kind(link.loss)
    problems = [*kind.problems(link.options), *_count_problems(link, kind)]
    if problems:
        raise UsageError(" ".join(problems))
    lines = LineMaps(*layouts, _adapter_call(link)[0])
    if not needs_shapes(link):
        return LinkPart(kind, link.loss_text, kind.build(None, None, link.options, facts or Facts()), lines=lines)
    if student is None or teacher is None:
        raise UsageError(
            "has parameters that are made from the layers' shapes: pass example=inputs of two examples, so that they "
            "are there before the optimiser"
        )
    taken = lines.of_student(student), lines.of_teacher(teacher)
    if not lines.after:
        student, teacher = (map_shapes(side, maps) for side, maps in zip((student, teacher), taken, strict=True))
    adapters = _adapters(link, student, teacher)
    if adapters:
        teacher = tuple(_prepared(adapter, shape) for adapter, shape in zip(adapters, teacher, strict=True))
        student, taken = teacher, (taken[1], taken[1])
    is_own = kind.make not in _OURS
    if is_own != lines.after:  # the loss asks for the other form
        change = line_shapes if is_own else map_shapes
        student, teacher = (change(side, maps) for side, maps in zip((student, teacher), taken, strict=True))
    one = kind.taps == 1
    loss = kind.build(student[0] if one else student, teacher[0] if one else teacher, link.options, facts or Facts())
    return LinkPart(kind, link.loss_text, loss, adapters, lines)


def _prepared(adapter: Adapter, shape: Size) -> Size:
    """The teacher's shape as it is compared."""
    return adapter.prepare(torch.empty(shape, device="meta")).shape


def _adapters(link: Link, student: Shapes, teacher: Shapes) -> list[Adapter]:
    if link.adapter is None:
        return []
    kind, options = _adapter_call(link)
    return [fit(own, other, kind, **options) for own, other in zip(student, teacher, strict=True)]


def _adapter_call(link: Link) -> tuple[Any, dict[str, Any]]:
    """The adapter's kind, or what was given in its place, and its options."""
    return parse_call(link.adapter, "adapter") if isinstance(link.adapter, str) else (link.adapter, {})


def _count_problems(link: Link, kind: LossKind) -> list[str]:
    """Where the number of taps is not what the loss compares."""
    own, other = len(link.student_taps), len(link.teacher_taps)
    if kind.taps is not None and (own, other) != (kind.taps, kind.taps):
        taps = "one tap" if kind.taps == 1 else f"{kind.taps} taps"
        return [f"{link.loss_text} compares {taps} a side; got {other} of the teacher and {own} of the student"]
    if link.adapter is not None and own != other:
        return [f"an adapter is for one tap each; got {other} taps of the teacher and {own} of the student"]
    return []


def advice(
    link: Link,
    student: Shapes,
    teacher: Shapes,
    error: ShapeError,
    layouts: tuple[Told, Told] = ((), ()),
) -> str:
    """A shape error with the link as it should be written."""
    lines = LineMaps(*layouts)
    student, teacher = map_shapes(student, lines.of_student(student)), map_shapes(teacher, lines.of_teacher(teacher))
    if link.adapter is None and len(student) == len(teacher):
        fitting = [kinds_that_fit(own, other) for own, other in zip(student, teacher, strict=True)]
        if all(fitting) and _is_mended(link, teacher):
            kinds = [kind for kind in fitting[0] if kind != "auto" and all(kind in others for others in fitting)]
            shown = f" (or {', '.join(kinds)})" if len(kinds) > 1 else ""
            return f"{error}. Write: {link.text}, adapter=auto{shown}"
    if student == teacher or link.adapter is not None or not _is_mended(link, teacher):
        return f"{error}. Take another loss (layerlink ls losses) or other layers (layerlink layers MODEL)"
    return f"{error}. Link layers of the same shape: layerlink layers MODEL lists them"


def _is_mended(link: Link, teacher: Shapes) -> bool:
    """Whether the loss compares activations of the teacher's shape at all: an adapter could give the student's it."""
    kind = loss_kind(link.loss)
    if kind.is_module or kind.needs() - {"mask"}:
        return True
    sides = tuple(torch.zeros(shape) for shape in teacher)
    try:
        with torch.no_grad():
            kind.build(None, None, link.options, Facts())(*((sides[0],) * 2 if kind.taps == 1 else (sides,) * 2))
    except ShapeError:
        return False
    except Exception:  # noqa: BLE001 - of zeros it may be anything; asked is for shapes alone
        return True
    return True
