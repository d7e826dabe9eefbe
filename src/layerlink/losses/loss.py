"""What a loss is: a function of two tensors, or a module where it trains or remembers something.

What it needs beside the two tensors it names as keyword-only parameters, by the names of ``Context``; a module is made
with what it names of ``Facts``. Every other keyword-only parameter is an option of the link's text.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeVar

from torch import Size, Tensor, nn

from layerlink.errors import UsageError, unknown_name

T = TypeVar("T")
Sizes = Size | tuple[Size, ...] | None


@dataclass(frozen=True)
class Context:
    """What is known of a batch beside the activations.

    Args:
        labels: (N,) int64, or (N, C) probabilities.
        indices: (N,) int64, which examples of the data set these are.
        mask: bool, true where a position counts: (N,) for (N, C), (N, L) for (N, L, D), (N, H, W) for (N, C, H, W).
        progress: of the training, 0..1.
        student_head: the student's classifier.
        teacher_head: the teacher's classifier.
        views: how many views of each image stand in the batch, one after the other.
    """

    labels: Tensor | None = None
    indices: Tensor | None = None
    mask: Tensor | None = None
    progress: float | None = None
    student_head: nn.Module | None = None
    teacher_head: nn.Module | None = None
    views: int | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a training.

    Args:
        train_size: number of training examples.
        num_classes: number of classes.
    """

    train_size: int | None = None
    num_classes: int | None = None


_CONTEXT = frozenset(field.name for field in fields(Context))
_FACTS = frozenset(field.name for field in fields(Facts))


def all_of(mask: Tensor, **options: Any) -> Tensor:
    """What a mask lets count, where a loss is the mean over it: every position that it keeps."""
    return mask


@dataclass(frozen=True)
class LossKind:
    """A loss and what is to be known of it.

    Args:
        make: the function, the module's class, or a module.
        taps: how many activations a side it compares; with more than one both sides are tuples. None: any number.
        between_images: whether images of a batch are compared with each other, so that parts of it do not add up.
        same_shape: whether it compares equal shapes only.
        degree: it grows like scale^degree where both activations are scaled; 0 where not at all, None where otherwise.
        counted: of a mask and the options, what the loss is the mean over; processes weigh their parts by its sum.
    """

    make: Callable[..., Any]
    taps: int | None = 1
    between_images: bool = False
    same_shape: bool = True
    degree: int | None = 2
    counted: Callable[..., Tensor] = all_of

    @property
    def is_module(self) -> bool:
        """Whether it is a class of modules, to be made from shapes."""
        return inspect.isclass(self.make) and issubclass(self.make, nn.Module)

    @property
    def name(self) -> str:
        """As messages call it."""
        return str(getattr(self.make, "__name__", type(self.make).__name__))

    def options(self) -> dict[str, Any]:
        """Its options with their defaults; ``inspect.Parameter.empty`` where one must be given."""
        given = self._named(self.make)
        return {name: default for name, default in given.items() if name not in _CONTEXT | _FACTS}

    def needs(self) -> frozenset[str]:
        """What of a batch's ``Context`` it takes."""
        return frozenset(self._named(self._called())) & _CONTEXT

    def needs_facts(self) -> frozenset[str]:
        """What of a training's ``Facts`` it is made with."""
        return frozenset(self._named(self.make)) & _FACTS if self.is_module else frozenset()

    def problems(self, options: Mapping[str, Any]) -> list[str]:
        """What is wrong with options, in sentences."""
        known = self.options()
        found = self._call_problems()
        found += [unknown_name(f"option of {self.name}", name, known) for name in options if name not in known]
        for name, default in known.items():
            if name not in options:
                if default is inspect.Parameter.empty:
                    found.append(f"{self.name} needs the option {name}: write {self.name}({name}=...)")
            elif wrong := _wrong_kind(options[name], default):
                found.append(f"{self.name}: {name} must be {wrong}; got {options[name]!r}")
        return found

    def build(self, student: Sizes, teacher: Sizes, options: Mapping[str, Any], facts: Facts) -> Callable[..., Any]:
        """What is called with the activations of both sides, and ``needs`` as keywords.

        Args:
            student: the shape of one traced batch, or one a tap where several are compared; used by modules alone.
            teacher: the same of the teacher.
            options: by name.
            facts: of the training.

        Raises:
            UsageError: where a fact that it is made with is not known, or shapes or options do not fit.
        """
        if not self.is_module:
            return partial(self.make, **options) if options else self.make
        known = {name: getattr(facts, name) for name in self.needs_facts()}
        unknown = [name for name, value in known.items() if value is None]
        if unknown:
            raise UsageError(f"{self.name} needs {' and '.join(unknown)}: pass facts=layerlink.Facts({unknown[0]}=...)")
        built: nn.Module = self.make(student, teacher, **known, **options)
        return built

    def _call_problems(self) -> list[str]:
        """Where it cannot be called with both sides."""
        found = []
        made = _positional(self.make) if self.is_module else None
        if made and not made[0] <= 2 <= made[1]:
            found.append(
                f"the class {self.name} is made with the shapes of student and teacher, and takes {_said(made)} such "
                f"arguments. Where it needs none, pass one that is made: {self.name}(...)"
            )
        asked = _positional(self._called(), 1 if self.is_module else 0)
        if asked and not asked[0] <= 2 <= asked[1]:
            found.append(
                f"{self.name} is called with the student's activation and the teacher's, and takes {_said(asked)} such "
                "arguments. What else it needs, and its options, stand after a star: (student, teacher, *, labels)"
            )
        return found

    def _called(self) -> Callable[..., Any]:
        if self.is_module:
            return self.make.forward  # type: ignore[attr-defined, no-any-return]
        return self.make.forward if isinstance(self.make, nn.Module) else self.make

    def _named(self, of: Callable[..., Any]) -> dict[str, Any]:
        if isinstance(of, nn.Module):  # made already: nothing is left to choose
            return {}
        try:
            parameters = inspect.signature(of).parameters.values()
        except (TypeError, ValueError):
            return {}
        return {it.name: it.default for it in parameters if it.kind is inspect.Parameter.KEYWORD_ONLY}


def loss(
    *, taps: int | None = 1, between_images: bool = False, same_shape: bool = True, degree: int | None = 2
) -> Callable[[T], T]:
    """Says of a loss of one's own what ``LossKind`` says; a decorator that leaves function or class as they are.

    Args:
        taps: how many activations a side it compares; with more than one both sides are tuples. None: any number.
        between_images: whether images of a batch are compared with each other, so that parts of it do not add up.
        same_shape: whether it compares equal shapes only.
        degree: it grows like scale^degree where both activations are scaled; 0 where not at all, None where otherwise.
    """

    def mark(make: T) -> T:
        kind = LossKind(make, taps, between_images, same_shape, degree)  # type: ignore[arg-type]
        make.__layerlink_loss__ = kind  # type: ignore[attr-defined]
        return make

    return mark


def kind_of(make: Any) -> LossKind:
    """What is known of a function, a class of modules, a module, or a ``LossKind``.

    Raises:
        UsageError: where it is none of them.
    """
    if isinstance(make, LossKind):
        return make
    if not callable(make):
        raise UsageError(f"a loss is a function or an nn.Module; got {type(make).__name__}")
    said = getattr(make, "__layerlink_loss__", None)
    if isinstance(said, LossKind):
        return (
            said if said.make is make else LossKind(make, said.taps, said.between_images, said.same_shape, said.degree)
        )
    return LossKind(make, same_shape=False, degree=None)


def _positional(of: Callable[..., Any], bound: int = 0) -> tuple[int, float] | None:
    """How many arguments without a name a callable needs at least and takes at most; None where nobody can say.

    Args:
        of: what is called.
        bound: how many of them are given already, such as ``self``.
    """
    if getattr(of, "__init__", None) is nn.Module.__init__:  # whose signature takes anything, and which takes nothing
        return 0, 0
    try:
        parameters = inspect.signature(of).parameters.values()
    except (TypeError, ValueError):
        return None
    some = [it for it in parameters if it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD)]
    most = math.inf if any(it.kind is it.VAR_POSITIONAL for it in parameters) else len(some) - bound
    return sum(it.default is it.empty for it in some) - bound, most


def _said(count: tuple[int, float]) -> str:
    least, most = count
    return f"{least}" if least == most else f"{least} to {most}" if most < math.inf else f"{least} or more"


def _wrong_kind(value: Any, default: Any) -> str:
    """What a value should be like, by the default; empty where it is."""
    if default is None or default is inspect.Parameter.empty or value is None:
        return ""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False"
    if isinstance(default, int):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if isinstance(default, float):
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if isinstance(default, str):
        return "" if isinstance(value, str) else "a text"
    return ""
