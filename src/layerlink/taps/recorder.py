"""Reads all taps of a model during one forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._pytree import tree_map_only

from layerlink.taps.compiled import has_fused_path, outside_of_graphs
from layerlink.taps.element import ElementError, pick
from layerlink.taps.in_place import Before, OverwrittenError, overwritten_since, snapshot, version_of
from layerlink.taps.modules import call_model, find_module, no_such_layer
from layerlink.taps.tap import Tap


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
        skipped: taps that were read in an earlier pass and whose layer did not run in this one, such as a layer that
            is left out at random.
    """

    output: Any = None
    values: dict[Tap, Tensor] = field(default_factory=dict)
    problems: dict[Tap, str] = field(default_factory=dict)
    edges: dict[Tap, GradientEdge] = field(default_factory=dict)
    skipped: set[Tap] = field(default_factory=set)


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
        role: "teacher", "student" or "model", for messages.
    """

    def __init__(self, model: nn.Module, role: str) -> None:
        self.model = model
        self.role = role
        self._untouched: set[tuple[Tap, bool]] = set()  # with the mode; nothing has overwritten them yet
        self._overwritten: set[tuple[Tap, bool]] = set()  # at some time: they are copied for good
        self._fired: set[Tap] = set()
        self.fused = has_fused_path(model)
        self.repeats = True  # a pass whose value was lost; not where others would have to repeat it as well

    def missing(self, taps: Iterable[Tap]) -> dict[Tap, str]:
        """The taps whose module does not exist, each with the sentence that says so."""
        return {
            tap: no_such_layer(self.model, tap.module, self.role)
            for tap in taps
            if find_module(self.model, tap.module) is None
        }

    def record(self, inputs: Any, taps: Iterable[Tap], *, edges: bool = False, stop_early: bool = False) -> Recording:
        """One forward pass.

        Args:
            inputs: a tensor, a tuple of positional or a mapping of keyword arguments.
            taps: what to read; paths are looked up at every pass.
            edges: also keep where each tap stands in the autograd graph, for ``torch.autograd.grad``.
            stop_early: end the pass as soon as every tap has been read; ``output`` is None then.

        A value that was never overwritten before and now is has no copy: in training mode the pass is then made again,
        from the same inputs, buffers and random numbers, with one.

        Raises:
            OverwrittenError: where it cannot be made again.
        """
        asked = tuple(dict.fromkeys(taps))
        again = self.repeats and self.model.training and not all(map(self.must_copy, asked))
        before = Before(self.model) if again else None
        given = tree_map_only(Tensor, snapshot, inputs) if again else inputs
        with outside_of_graphs(self.model, asked, fused=self.fused):
            try:
                return self._record(given, asked, edges=edges, stop_early=stop_early)
            except OverwrittenError:
                if before is None:
                    raise
            before.restore()
            return self._record(inputs, asked, edges=edges, stop_early=stop_early)

    def _record(self, inputs: Any, asked: tuple[Tap, ...], *, edges: bool, stop_early: bool) -> Recording:
        reading = _Pass(self, asked, edges=edges, stop_early=stop_early)
        recording = reading.run(inputs)
        self._check_untouched(reading.readings)
        reading.check_calls(whole_pass=not stop_early)
        self._fired.update(recording.values)
        return recording

    def _check_untouched(self, readings: dict[Tap, _Reading]) -> None:
        lost = []
        for tap, reading in readings.items():
            overwritten = overwritten_since(reading.original, reading.version)
            if overwritten:
                self._overwritten.add((tap, self.model.training))
                lost += [] if reading.copied else [tap]
            elif reading.copied and (tap, self.model.training) not in self._overwritten:
                self._untouched.add((tap, self.model.training))
        if lost:
            self._untouched -= self._overwritten
            raise OverwrittenError(
                f"the {self.role}'s layer {str(lost[0])!r} was overwritten in place in this pass, though in none "
                "before; its value is lost. Repeat the step: from now on it is copied"
            )

    def has_fired(self, tap: Tap) -> bool:
        """Whether the tap was read in an earlier pass: a layer that does not run now is skipped."""
        return tap in self._fired

    def must_copy(self, tap: Tap) -> bool:
        """Whether a pass has yet to show, in this mode, that nothing overwrites the value."""
        return (tap, self.model.training) not in self._untouched


class _Pass:
    """One pass: its hooks, what they read, how often modules ran."""

    def __init__(self, recorder: Recorder, taps: tuple[Tap, ...], *, edges: bool, stop_early: bool) -> None:
        self.recorder, self.taps, self.edges = recorder, taps, edges
        self.recording = Recording(problems=recorder.missing(taps))
        self.readings: dict[Tap, _Reading] = {}
        self.calls: dict[tuple[str, str], int] = defaultdict(int)
        self.there = [tap for tap in taps if tap not in self.recording.problems]
        self.pending = set(self.there) if stop_early else None  # None: the pass goes to its end

    def run(self, inputs: Any) -> Recording:
        """Run the model."""
        with self._hooks():
            try:
                if self.pending is None or self.pending:
                    self.recording.output = call_model(self.recorder.model, inputs)
            except _Enough:
                pass
        return self.recording

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        groups: dict[tuple[str, str], list[Tap]] = defaultdict(list)
        for tap in self.there:
            groups[tap.module, tap.side].append(tap)

        def read(group: tuple[str, str], value: Any) -> None:
            call = self.calls[group]
            self.calls[group] += 1
            for tap in groups[group]:
                if call == (tap.call or 0):
                    self._read(tap, value)
                    if self.pending is not None:
                        self.pending.discard(tap)
            if self.pending is not None and not self.pending:
                raise _Enough

        handles = []
        try:
            for group in groups:
                module = self.recorder.model.get_submodule(group[0])
                handles.append(register(module, group, read))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _read(self, tap: Tap, value: Any) -> None:
        try:
            original = pick(*element_of(tap, value), place_of(tap))
        except ElementError as error:
            self.recording.problems[tap] = f"{self.recorder.role}: {error}"
            return
        if self.edges and original.requires_grad:  # taken now: an in-place operation would move the tensor's place
            self.recording.edges[tap] = get_gradient_edge(original)
        copied = self.recorder.must_copy(tap)
        self.recording.values[tap] = snapshot(original) if copied else original
        self.readings[tap] = _Reading(original, version_of(original), copied)

    def check_calls(self, *, whole_pass: bool) -> None:
        """Note the taps that ran never, or more often than they say."""
        recording, role = self.recording, self.recorder.role
        for tap in self.taps:
            if tap in recording.problems:
                continue
            count = self.calls[tap.module, tap.side]
            if tap.call is None and count > 1 and whole_pass:
                names = ", ".join(str(Tap(tap.module, tap.side, call, tap.element)) for call in range(min(count, 4)))
                recording.problems[tap] = (
                    f"the {role}'s layer {str(tap)!r} runs {count} times in one pass. Say which run: {names}"
                    f"{', ...' if count > 4 else ''}"
                )
            elif tap not in recording.values and not count and self.recorder.has_fired(tap):
                recording.skipped.add(tap)
            elif tap not in recording.values:
                runs = f"runs only {count} time{'s' if count > 1 else ''}" if count else "never runs"
                recording.problems[tap] = f"the {role}'s layer {str(tap)!r} {runs} in a forward pass"
        for tap in recording.problems:
            recording.values.pop(tap, None)


def register(module: nn.Module, group: tuple[str, str], read: Any) -> Any:
    """Hang a hook that calls ``read(group, value)`` on a module's input, as (args, kwargs), or its output."""
    if group[1] == "input":
        return module.register_forward_pre_hook(
            lambda _module, args, kwargs: read(group, (args, kwargs)), with_kwargs=True
        )
    return module.register_forward_hook(lambda _module, _args, output: read(group, output))


def place_of(tap: Tap) -> str:
    """What a tap reads elements of, as taps are written."""
    return f"{tap.module}@input" if tap.side == "input" else tap.module or "@output"


def element_of(tap: Tap, value: Any) -> tuple[Any, tuple[str, ...]]:
    """On the input side ``value`` is (args, kwargs): the first key chooses, and without one the first input."""
    if tap.side == "output":
        return value, tap.element
    args, kwargs = value
    inputs = {**{str(index): item for index, item in enumerate(args)}, **kwargs}
    if tap.element:
        return inputs, tap.element
    return inputs, (next(iter(inputs), "0"),)
