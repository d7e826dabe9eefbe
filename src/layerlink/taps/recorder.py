"""Reads all taps of a model during one forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from layerlink.errors import LayerlinkError
from layerlink.taps.tap import (
    ElementError,
    Tap,
    call_model,
    find_module,
    no_such_layer,
    overwritten_since,
    pick,
    snapshot,
    version_of,
)


class _Enough(BaseException):
    """Everything asked for has been read; the rest of the pass is not needed."""


@dataclass
class Recording:
    """What one forward pass gave.

    Args:
        output: what the model returned; None where the pass was stopped early.
        values: the tensor at every tap that could be read.
        problems: for every other tap, why it could not.
        edges: where every tap stands in the autograd graph, where that was asked for and it has a gradient.
    """

    output: Any = None
    values: dict[Tap, Tensor] = field(default_factory=dict)
    problems: dict[Tap, str] = field(default_factory=dict)
    edges: dict[Tap, GradientEdge] = field(default_factory=dict)


@dataclass
class _Reading:
    original: Tensor
    version: int | None
    copied: bool


class Recorder:
    """Runs a model and reads its taps.

    Hooks live for one pass only and are removed whatever happens, so two recorders over one model do not
    disturb each other. A value is copied when it is read, until a pass has shown that nothing overwrites it in
    place; from then on it is only referred to, and every further pass checks that this still holds.

    Args:
        model: any module.
        taps: what to read; paths are looked up at every pass.
        role: "teacher" or "student", for messages.
        edges: also keep where each tap stands in the autograd graph, for ``torch.autograd.grad``.
    """

    def __init__(self, model: nn.Module, taps: Iterable[Tap], role: str, *, edges: bool = False) -> None:
        self.model = model
        self.taps = tuple(dict.fromkeys(taps))
        self.role = role
        self.edges = edges
        self._untouched: set[tuple[Tap, bool]] = set()

    def missing(self) -> dict[Tap, str]:
        """The taps whose module does not exist, each with the sentence that says so."""
        return {
            tap: no_such_layer(self.model, tap.module, self.role)
            for tap in self.taps
            if find_module(self.model, tap.module) is None
        }

    def record(self, inputs: Any, *, stop_early: bool = False) -> Recording:
        """One forward pass.

        Args:
            inputs: a tensor, a tuple of positional or a mapping of keyword arguments.
            stop_early: end the pass as soon as every tap has been read; ``output`` is None then.

        Raises:
            LayerlinkError: where a value that was never overwritten before now was, so its copy is missing.
        """
        recording = Recording(problems=self.missing())
        readings: dict[Tap, _Reading] = {}
        calls: dict[tuple[str, str], int] = defaultdict(int)
        pending = {tap for tap in self.taps if tap not in recording.problems}
        with self._hooks(recording, readings, calls, pending if stop_early else None):
            try:
                if pending or not stop_early:
                    recording.output = call_model(self.model, inputs)
            except _Enough:
                pass
        self._check_untouched(readings)
        self._check_calls(recording, calls, whole_pass=not stop_early)
        return recording

    @contextmanager
    def _hooks(
        self,
        recording: Recording,
        readings: dict[Tap, _Reading],
        calls: dict[tuple[str, str], int],
        pending: set[Tap] | None,
    ) -> Iterator[None]:
        groups: dict[tuple[str, str], list[Tap]] = defaultdict(list)
        for tap in self.taps:
            if tap not in recording.problems:
                groups[tap.module, tap.side].append(tap)

        def read(group: tuple[str, str], value: Any) -> None:
            call = calls[group]
            calls[group] += 1
            for tap in groups[group]:
                if call == (tap.call or 0):
                    self._read(tap, value, recording, readings)
                    if pending is not None:
                        pending.discard(tap)
            if pending is not None and not pending:
                raise _Enough

        handles = []
        try:
            for group in groups:
                module = self.model.get_submodule(group[0])
                handles.append(_register(module, group, read))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _read(self, tap: Tap, value: Any, recording: Recording, readings: dict[Tap, _Reading]) -> None:
        name = tap.module or "the model"
        try:
            original = pick(*_default_element(tap, value), name)
        except ElementError as error:
            recording.problems[tap] = f"{self.role}: {error}"
            return
        if self.edges and original.requires_grad:  # taken now: an in-place operation would move the tensor's place
            recording.edges[tap] = get_gradient_edge(original)
        copied = (tap, self.model.training) not in self._untouched
        recording.values[tap] = snapshot(original) if copied else original
        readings[tap] = _Reading(original, version_of(original), copied)

    def _check_untouched(self, readings: dict[Tap, _Reading]) -> None:
        for tap, reading in readings.items():
            overwritten = overwritten_since(reading.original, reading.version)
            if reading.copied and not overwritten:
                self._untouched.add((tap, self.model.training))
            elif overwritten and not reading.copied:
                self._untouched.discard((tap, self.model.training))
                raise LayerlinkError(
                    f"the {self.role}'s layer {str(tap)!r} was overwritten in place in this pass, though in none "
                    "before; its value is lost. Repeat the step: from now on it is copied"
                )

    def _check_calls(self, recording: Recording, calls: dict[tuple[str, str], int], *, whole_pass: bool) -> None:
        for tap in self.taps:
            if tap in recording.problems:
                continue
            count = calls[tap.module, tap.side]
            if tap.call is None and count > 1 and whole_pass:
                names = ", ".join(str(Tap(tap.module, tap.side, call, tap.element)) for call in range(min(count, 4)))
                recording.problems[tap] = (
                    f"the {self.role}'s layer {str(tap)!r} runs {count} times in one pass. Say which run: {names}"
                    f"{', ...' if count > 4 else ''}"
                )
            elif tap not in recording.values:
                runs = f"runs only {count} time{'s' if count > 1 else ''}" if count else "never runs"
                recording.problems[tap] = f"the {self.role}'s layer {str(tap)!r} {runs} in a forward pass"
        for tap in recording.problems:
            recording.values.pop(tap, None)


def _register(module: nn.Module, group: tuple[str, str], read: Any) -> Any:
    if group[1] == "input":
        return module.register_forward_pre_hook(
            lambda _module, args, kwargs: read(group, (args, kwargs)), with_kwargs=True
        )
    return module.register_forward_hook(lambda _module, _args, output: read(group, output))


def _default_element(tap: Tap, value: Any) -> tuple[Any, tuple[str, ...]]:
    """On the input side ``value`` is (args, kwargs): the first key chooses, and without one the first input."""
    if tap.side == "output":
        return value, tap.element
    args, kwargs = value
    inputs = {**{str(index): item for index, item in enumerate(args)}, **kwargs}
    if tap.element:
        return inputs, tap.element
    return inputs, (next(iter(inputs), "0"),)
