"""A model and the one way to read it: for teacher, student, evaluation and probes alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from layerlink.errors import UsageError
from layerlink.taps.activations import Activations
from layerlink.taps.element import ElementError, pick
from layerlink.taps.program import Compiling, Programs
from layerlink.taps.recorder import Recorder
from layerlink.taps.tap import OUTPUT, Tap

Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
Arithmetic = Callable[[], AbstractContextManager[Any]]


def arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which models run: weights stay float32, products are computed in ``precision``."""
    narrow = torch.bfloat16 if precision == "float32" else DTYPES[precision]
    return torch.autocast(device.type, narrow, enabled=precision != "float32")


class Observed:
    """Runs a model and reads what is asked for. Its output is a tap like any other.

    Args:
        model: any module.
        role: "teacher", "student" or "model", for messages.
        output: the element of the model's output that holds the logits, such as ``"[0]"`` or ``"[scores]"``; not needed
            where the output is a tensor or has ``logits``.
        arithmetic: makes the context to run in; by default that of the caller.
        view: what the model sees of the inputs, such as images that are normalised otherwise; by default they
            themselves.
        head: the name of its classifier, for losses that ask for it; found where the user names none.
    """

    def __init__(
        self,
        model: nn.Module,
        role: str = "model",
        *,
        output: str = "",
        arithmetic: Arithmetic = nullcontext,
        view: Callable[[Any], Any] | None = None,
        head: str = "",
    ) -> None:
        self.model = model
        self.role = role
        self.head = head
        self.output = output_keys(output)
        self.arithmetic = arithmetic
        self.view = view
        self._recorder = Recorder(model, role)
        self.programs: Programs | None = None  # what its passes are compiled to; None where they are run eagerly

    def seen(self, inputs: Any) -> Any:
        """What the model sees of ``inputs``."""
        return inputs if self.view is None else self.view(inputs)

    def missing(self, taps: Iterable[Tap]) -> dict[Tap, str]:
        """The taps whose module does not exist, each with the sentence that says so."""
        return self._recorder.missing(taps)

    def read(
        self, inputs: Any, wanted: Iterable[Tap], *, edges: bool = False, stop_early: bool = False, glance: bool = False
    ) -> Activations:
        """One forward pass.

        Args:
            inputs: a tensor, a tuple of positional or a mapping of keyword arguments.
            wanted: what to read; what cannot be read is in ``problems``.
            edges: also keep where each tap stands in the autograd graph.
            stop_early: compute nothing above the deepest tap, where the output is not wanted.
            glance: where the output is not wanted and is a tensor, give it without its gradient.

        Raises:
            LayerlinkError: where a value that was never overwritten in place before now was.
        """
        taps = tuple(wanted)
        inner = [tap for tap in taps if tap != OUTPUT]
        inputs = self.seen(inputs)
        output = len(inner) < len(taps)
        stop_early = stop_early and not output
        with self.arithmetic():
            recording = None
            if self.programs is not None and not edges:
                recording = self.programs.record(inputs, inner, output=output, whole=not stop_early)
            if recording is None:
                recording = self._recorder.record(inputs, inner, edges=edges, stop_early=stop_early)
        given = Activations(
            None, recording.values, recording.problems, recording.edges, recording.skipped, recording.output
        )
        if output:
            self._take_output(recording.output, given, edges=edges)
        elif glance and isinstance(recording.output, Tensor):
            given.values[OUTPUT] = recording.output.detach()
        return given

    def compile(self, taps: Iterable[Tap], how: Compiling) -> Programs:
        """Let passes that read some of ``taps`` be compiled from now on; others are run as before.

        Args:
            taps: an eager pass has read them in the mode that the model is in now, with or without gradients as now.
            how: see there.
        """
        self.programs = Programs(self._recorder, (tap for tap in taps if tap != OUTPUT), how)
        return self.programs

    def never_repeat(self) -> None:
        """Let a pass whose value was lost be an error: other processes would have to repeat it as well."""
        self._recorder.repeats = False

    def logits(self, inputs: Any) -> Tensor:
        """What the model gives at its output.

        Raises:
            UsageError: where its logits are not there; the message lists what is.
        """
        given = self.read(inputs, [OUTPUT])
        if OUTPUT in given.problems:
            raise UsageError(given.problems[OUTPUT])
        return given.values[OUTPUT]

    def _take_output(self, output: Any, given: Activations, *, edges: bool) -> None:
        try:
            value = logits_in(output, self.output)
        except ElementError as error:
            given.problems[OUTPUT] = f"the {self.role}'s {error}: {self.role}_logits='[NAME]'"
            return
        given.values[OUTPUT] = value
        if edges and value.requires_grad:
            given.edges[OUTPUT] = get_gradient_edge(value)


def logits_in(output: Any, keys: tuple[str, ...] = ()) -> Tensor:
    """The tensor itself, its ``logits``, or the named element.

    Some models give several heads while they train and the logits alone in evaluation: a tensor is the logits.

    Args:
        output: what a model returned.
        keys: as ``output_keys`` gives them.

    Raises:
        ElementError: where there are none.
    """
    if isinstance(output, Tensor):
        return output
    if not keys:
        try:
            return pick(output, ("logits",), "output")
        except ElementError:
            return pick(output, (), "output")
    return pick(output, keys, "output")


def output_keys(text: str) -> tuple[str, ...]:
    """``"[scores][0]"`` or plain ``scores`` as keys.

    Raises:
        UsageError: where it is no text.
    """
    if not isinstance(text, str):
        instead = (
            f"write '[{text}]'" if isinstance(text, int) else "for anything else give the model a forward of yours"
        )
        raise UsageError(
            f"where an output's logits are is a text, such as '[0]' or '[scores]'; got {text!r}: {instead}"
        )
    if text and not text.startswith("["):
        text = f"[{text}]"
    return Tap.parse(f"output{text}").element
