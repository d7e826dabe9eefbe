"""Teachers: whatever gives what is asked for, for a batch, without gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.taps import Activations, Tap


class Teacher(Protocol):
    """What the distiller and the training loop ask of a teacher, live or stored."""

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What it gives for a batch.

        Args:
            inputs: the batch, as models take it.
            wanted: what is asked for; ``OUTPUT`` are the logits. More may be given.
            indices: (N,) int64, which examples of the data set these are; None where that is not known.
        """
        ...

    def models(self) -> Iterable[nn.Module]:
        """The modules that it runs: they are moved along with the distiller, and share nothing with the student."""
        ...


class CalledTeacher:
    """Anybody's callable that gives ``Activations`` for the inputs, all that it has.

    Args:
        give: called with the inputs alone.
    """

    def __init__(self, give: Callable[[Any], Activations]) -> None:
        self.give = give

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What the callable gives for ``inputs``."""
        return self.give(inputs)

    def models(self) -> Iterable[nn.Module]:
        """None that are known."""
        return ()


def models_of(given: Any) -> tuple[nn.Module, ...]:
    """The modules behind what a user gave as a teacher.

    Raises:
        UsageError: where it is nothing that could teach.
    """
    if given is None:
        return ()
    if isinstance(given, nn.Module):
        return (given,)
    if not callable(given):
        raise UsageError(f"the teacher must be a torch.nn.Module or give Activations; got {type(given).__name__}")
    return tuple(given.models()) if is_teacher(given) else ()


def is_teacher(given: Any) -> bool:
    """Whether it can be told what is wanted; other callables give what they have."""
    if not callable(getattr(given, "models", None)):
        return False
    try:
        return "wanted" in inspect.signature(given).parameters
    except (TypeError, ValueError):
        return False
