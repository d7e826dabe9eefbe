"""The adapter for two shapes: by its kind, or the cheapest that fits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from layerlink.adapters.adapter import Adapter, AdapterError, Shape, shown
from layerlink.adapters.map import channels_last, conv1x1, head, map_steps, pool, resize
from layerlink.adapters.tokens import tokens
from layerlink.adapters.vector import linear
from layerlink.errors import unknown_name
from layerlink.user_code import named


def auto(student: Shape, teacher: Shape) -> Adapter:
    """The cheapest that fits: nothing for equal shapes, else as few parameters and operations as do.

    Raises:
        AdapterError: where none does.
    """
    if student[1:] == teacher[1:]:
        return Adapter()
    kinds = (len(student), len(teacher))
    if kinds == (4, 4) and (channels_last(student) or channels_last(teacher)):
        return head(student, teacher)
    if kinds == (4, 4):
        return Adapter(map_steps(student[1:], teacher[1:]))
    if kinds == (2, 2) or (kinds == (3, 3) and student[1] == teacher[1]):
        return linear(student, teacher)
    if kinds in ((3, 3), (3, 4), (4, 3)):
        return tokens(student, teacher)
    raise AdapterError(
        f"no adapter brings {shown(student)} of the student to {shown(teacher)} of the teacher. Link layers of the "
        "same number of axes (layerlink layers MODEL lists them), or give an adapter of your own, such as "
        "Link(..., adapter=lambda student, teacher: torch.nn.Conv3d(student[1], teacher[1], 1))"
    )


# By name; ``auto`` first, then the cheapest.
ADAPTERS: dict[str, Callable[..., Adapter]] = {
    "auto": auto,
    "pool": pool,
    "resize": resize,
    "linear": linear,
    "conv1x1": conv1x1,
    "tokens": tokens,
    "head": head,
}


def fit(
    student: Sequence[int], teacher: Sequence[int], kind: str | Callable[..., Any] = "auto", **options: Any
) -> Adapter:
    """The module that brings a student's activation to the teacher's shape.

    Args:
        student: shape of one traced batch, the batch first.
        teacher: the same of the teacher.
        kind: a name in ``ADAPTERS``; a callable of both shapes that gives a module, or ``package.module:name`` of one;
            or a module that is made already.
        options: of that kind, such as ``norm=True`` of ``conv1x1``.

    Raises:
        AdapterError: where there is no such kind or option, or it does not fit; the message names those that do.

    >>> fit((2, 64, 32, 32), (2, 128, 16, 16)).words
    'pool 32x32 -> 16x16, conv1x1 64 -> 128'
    """
    own, other = tuple(student), tuple(teacher)
    if min((*own, *other), default=0) < 1 or not own or not other:
        raise AdapterError(f"an adapter needs at least one element; student gives {own}, teacher {other}")
    if not isinstance(kind, str):
        return _of_ones_own(_name_of(kind), kind, own, other, options)
    if ":" in kind:
        return _of_ones_own(kind, named(kind, "adapter"), own, other, options)
    if kind not in ADAPTERS:
        raise AdapterError(unknown_name("adapter", kind, ADAPTERS))
    make = ADAPTERS[kind]
    known = [it.name for it in inspect.signature(make).parameters.values() if it.kind is it.KEYWORD_ONLY]
    for name, value in options.items():
        if name not in known:
            raise AdapterError(unknown_name(f"option of the adapter {kind}", name, known))
        if not isinstance(value, bool):
            raise AdapterError(f"adapter {kind}: {name} must be True or False; got {value!r}")
    try:
        return make(own, other, **options)
    except AdapterError as error:
        others = kinds_that_fit(own, other)
        hint = f". Those that fit: {', '.join(others)}" if others and kind not in others else ""
        raise AdapterError(f"{error}{hint}") from None


def _of_ones_own(name: str, make: Any, student: Shape, teacher: Shape, options: dict[str, Any]) -> Adapter:
    """What a callable of the user's own makes of both shapes, or a module of theirs."""
    if not callable(make):
        raise AdapterError(f"an adapter is a name, a callable of both shapes or an nn.Module; got {make!r}")
    made = make if isinstance(make, nn.Module) else make(student, teacher, **options)
    if not isinstance(made, nn.Module):
        raise AdapterError(f"adapter {name} must give an nn.Module; got {type(made).__name__}")
    return made if isinstance(made, Adapter) else Adapter([(name.rpartition(":")[2], made)])


def _name_of(make: Any) -> str:
    return str(getattr(make, "__name__", type(make).__name__))


def kinds_that_fit(student: Sequence[int], teacher: Sequence[int]) -> tuple[str, ...]:
    """The kinds that bring these shapes together, ``auto`` first, then the cheapest; none where no kind does."""
    fitting = []
    for kind, make in ADAPTERS.items():
        try:
            make(tuple(student), tuple(teacher))
        except AdapterError:
            continue
        fitting.append(kind)
    return tuple(fitting)
