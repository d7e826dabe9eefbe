"""Passes of a model as programs of ``torch.compile``, in which taps are read as outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from layerlink.taps.compiled import is_compiled, outside_of_graphs
from layerlink.taps.element import pick
from layerlink.taps.in_place import snapshot
from layerlink.taps.recorder import Recorder, Recording, element_of, place_of, register
from layerlink.taps.tap import Tap
from layerlink.user_code import runs_a_model

BACKEND = "inductor"  # what programs are made by
_LONGEST = 200  # letters of a compiler's reason
_in_use: set[str] = set()  # "graphs", where CUDA graphs are


@dataclass(frozen=True)
class Compiling:
    """How the passes of a model are compiled.

    Args:
        rows: a batch of another size, such as the last of an epoch, is run eagerly.
        varying: batches differ in their other sizes, as padded texts do: one program serves all.
        graphs: replay programs as CUDA graphs, so that a pass is one launch.
        tell: is told why a pass is run eagerly after all.
    """

    rows: int
    varying: bool = False
    graphs: bool = False
    tell: Callable[[str], None] = lambda text: None


class Programs:
    """The compiled passes of a model: one for every set of taps that is asked for, in one mode.

    Parameters, buffers and modules are those of the model itself, so its ``state_dict`` and names stay. Random numbers
    are drawn as an eager pass draws them.

    Args:
        recorder: has read all of ``known`` in an eager pass, in the mode that is to be compiled.
        known: taps; where others are asked for, the pass is run eagerly.
        how: see there.
    """

    def __init__(self, recorder: Recorder, known: Iterable[Tap], how: Compiling) -> None:
        self.recorder, self.known, self.how = recorder, frozenset(known), how
        self.failure = ""  # why everything is run eagerly; empty while nothing is
        if is_compiled(recorder.model):
            self.failure = "it is compiled already"
        self._mode = self._now()
        self._programs: dict[tuple[tuple[Tap, ...], bool, bool], _Program] = {}

    def record(self, inputs: Any, taps: Iterable[Tap], *, output: bool, whole: bool) -> Recording | None:
        """One pass.

        Args:
            inputs: as of the recorder.
            taps: what to read, but for the output.
            output: whether the output's gradient is wanted.
            whole: whether the output is wanted at all.

        Returns:
            None where it is to be run eagerly.
        """
        asked = tuple(dict.fromkeys(taps))
        if self.failure or not self._serves(inputs, asked):
            return None
        key = (asked, output, whole)
        try:
            if key not in self._programs:
                self._programs[key] = _Program(self.recorder, *key, self.how)
            return self._programs[key](inputs)
        except Exception as error:
            if not from_a_compiler(error):
                raise
            self.fail(error)
            return None

    def fail(self, error: Exception) -> None:
        """Run everything eagerly from now on, and say why."""
        self.failure = reason(error)
        self._programs.clear()
        self.how.tell(f"compile: the {self.recorder.role} is run eagerly, for torch cannot compile it: {self.failure}")

    def _serves(self, inputs: Any, taps: tuple[Tap, ...]) -> bool:
        if self._now() != self._mode or not self.known.issuperset(taps):
            return False
        return all(len(it) == self.how.rows for it in tree_leaves(inputs) if isinstance(it, Tensor) and it.ndim)

    def _now(self) -> tuple[bool, bool]:
        return self.recorder.model.training, torch.is_grad_enabled()


class _Program:
    """A compiled pass that reads some taps."""

    def __init__(self, recorder: Recorder, taps: tuple[Tap, ...], output: bool, whole: bool, how: Compiling) -> None:
        self.recorder, self.taps = recorder, taps
        self._groups: dict[tuple[str, str], list[Tap]] = defaultdict(list)
        for tap in taps:
            self._groups[tap.module, tap.side].append(tap)
        self._read: list[tuple[tuple[str, str], Any]] = []  # in the order in which layers run; empty between passes
        # What is overwritten in place is copied within the program. What is the same for every batch is decided now.
        self._hooks = {
            group: self._hook(group, copies=any(map(recorder.must_copy, of_group)))
            for group, of_group in self._groups.items()
        }
        model, read = recorder.model, self._read

        def run(inputs: Any) -> tuple[Any, list[tuple[tuple[str, str], Any]]]:
            if isinstance(inputs, Mapping):
                given = model(**inputs)
            else:
                given = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            if not output:
                given = tree_map_only(Tensor, Tensor.detach, given) if whole else None
            return given, list(read)

        options: dict[str, Any] = {"fallback_random": True, **({"triton.cudagraphs": True} if how.graphs else {})}
        self._run = torch.compile(
            _of_its_own(run),
            fullgraph=True,
            dynamic=how.varying,
            backend=BACKEND,
            options=options if BACKEND == "inductor" else None,
        )
        _in_use.update(["graphs"] if how.graphs else [])

    def __call__(self, inputs: Any) -> Recording:
        """The pass."""
        recorder, handles = self.recorder, []
        try:
            for group, hook in self._hooks.items():
                handles.append(register(recorder.model.get_submodule(group[0]), group, hook))
            with outside_of_graphs(recorder.model, self.taps, fused=recorder.fused):
                output, read = self._called(inputs)
        finally:
            for handle in handles:
                handle.remove()
            self._read.clear()
        calls: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for group, value in read:
            calls[group].append(value)
        found = Recording(output)
        for tap in self.taps:
            value = calls[tap.module, tap.side][tap.call or 0]
            found.values[tap] = pick(*element_of(tap, value), place_of(tap))
        return found

    @runs_a_model
    def _called(self, inputs: Any) -> Any:
        return self._run(inputs)  # type: ignore[no-untyped-call]

    def _hook(self, group: tuple[str, str], *, copies: bool) -> Callable[[tuple[str, str], Any], None]:
        read = self._read

        def hook(_group: tuple[str, str], value: Any) -> None:
            read.append((group, tree_map_only(Tensor, snapshot, value) if copies else value))

        return hook


def _of_its_own(function: Any) -> Any:
    """The function with code that no other has: torch keeps programs by code, and only a few of each."""
    assert isinstance(function, FunctionType)  # noqa: S101 - for the type checker
    code: CodeType = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)


def next_step() -> None:
    """Say that a training step begins: what CUDA graphs gave in the one before may be overwritten."""
    if "graphs" in _in_use:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def from_a_compiler(error: BaseException) -> bool:
    """Whether an error came up in compiling, and not in the model or the device."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "torch._functorch", "triton"))


def reason(error: BaseException) -> str:
    """What an error says, in a line: its first one that says something."""
    from layerlink.printable import one_line  # an own loop that compiles nothing does not load it

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.endswith("raised:")] or lines  # "backend='inductor' raised:"
    cause = next((line for line in lines if "Error: " in line or "Compiler" in line), "")
    text = one_line(f"{type(error).__name__}: {cause or next(iter(lines), '')}")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
