"""Teachers: whatever gives what is asked for, for a batch, without gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.taps.element import ElementError
from layerlink.taps.observed import logits_in, output_keys


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
    """Anybody's callable that is called with the inputs alone.

    Args:
        give: gives ``Activations``, all that it has; or its output, a tensor or a structure that holds the logits.
        output: where in a structure the logits are, as in ``Observed``.
    """

    def __init__(self, give: Callable[[Any], Any], output: str = "") -> None:
        self.give = give
        self.output = output_keys(output)

    @torch.no_grad()
    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What the callable gives for ``inputs``.

        Raises:
            UsageError: where the logits are wanted and not there.
        """
        given = self.give(inputs)
        if isinstance(given, Activations):
            return given
        found = Activations(output=given)
        for tap in wanted:
            if tap == OUTPUT:
                try:
                    found.values[OUTPUT] = logits_in(given, self.output)
                except ElementError as error:
                    raise UsageError(f"the teacher's {error}: teacher_logits='[NAME]'") from None
            else:
                found.problems[tap] = (
                    f"the teacher is a {type(self.give).__name__} that gives its output alone, so layer {str(tap)!r} "
                    "cannot be read. Link outputs (@output), or pass a module"
                )
        return found

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
    if isinstance(given, nn.Module) and not is_teacher(given):
        return (given,)
    if isinstance(given, Mapping):
        _check_named(given)
        return tuple(dict.fromkeys(model for teacher in given.values() for model in models_of(teacher)))
    if not callable(given) or isinstance(given, type):
        raise UsageError(f"the teacher must be a torch.nn.Module or give Activations; got {_said(given)}")
    return tuple(given.models()) if is_teacher(given) else ()


def _check_named(given: Mapping[Any, Any]) -> None:
    """Raise ``UsageError`` unless these are several teachers by name."""
    if given and all(isinstance(value, Tensor) for value in given.values()):
        raise UsageError(
            "the teacher is a state_dict: load it into its model, model.load_state_dict(...), and pass that"
        )
    if len(given) == 1:
        raise UsageError("a single teacher has no name: pass the model itself")
    if not given or not all(isinstance(name, str) and name.isidentifier() for name in given):
        raise UsageError(
            f"several teachers are two or more by names of letters, digits and _; got {', '.join(map(str, given))}"
        )


def _said(given: Any) -> str:
    """What was given in a teacher's place, and what would do."""
    if isinstance(given, type):
        return f"the class {given.__name__}: call it"
    if isinstance(given, list | tuple):
        return f"a {type(given).__name__}. Several teachers are passed by name: {{'big': ..., 'wide': ...}}"
    if isinstance(given, str):
        return f"{given!r}. One of layerlink's own models is layerlink.build_model({given!r}, num_classes=...)"
    return type(given).__name__


def is_teacher(given: Any) -> bool:
    """Whether it can be told what is wanted; other callables give what they have."""
    if not callable(getattr(given, "models", None)):
        return False
    try:
        return "wanted" in inspect.signature(given).parameters
    except (TypeError, ValueError):
        return False
