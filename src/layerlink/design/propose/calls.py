"""What every module of a model gives in one pass, in the order in which the modules end."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from layerlink.design.propose.batches import examples_in
from layerlink.errors import LayerlinkError, UsageError
from layerlink.taps import Observed, Tap
from layerlink.taps.compiled import has_fused_path, outside_of_graphs
from layerlink.taps.in_place import snapshot
from layerlink.taps.modes import evaluating, untouched
from layerlink.taps.modules import call_model, why_closed
from layerlink.user_code import told

_DEEPEST = 3  # tuples and mappings inside of each other


@dataclass(frozen=True)
class Call:
    """A module's call in a pass.

    Args:
        path: of the module; empty for the model itself.
        number: which call of it, from 0.
        element: where in what it returned the tensor lies; empty where it is the tensor.
        shape: of the tensor, the examples first; None where there is none that has a row an example.
        within: path of the module that called it; empty where the model itself did, or is it.
        print: of the tensor's values: equal for the same tensor.
    """

    path: str
    number: int
    element: tuple[str, ...]
    shape: tuple[int, ...] | None
    within: str
    print: int = 0


@dataclass(frozen=True)
class Pass:
    """The calls of one pass.

    Args:
        calls: in the order in which they ended; the model's own is the last.
        counts: how often each module ran, by path.
    """

    calls: tuple[Call, ...]
    counts: Mapping[str, int]

    def tap(self, call: Call) -> Tap:
        """How a link names what the call gave."""
        return Tap(call.path, "output", call.number if self.counts[call.path] > 1 else None, call.element)


def trace_calls(observed: Observed, inputs: Any) -> Pass:
    """One pass in eval mode without gradients; the model is left as it was.

    Args:
        observed: the model.
        inputs: a few examples.

    Raises:
        UsageError: where the model cannot be run on them, or none of its layers can be read.
    """
    model, role = observed.model, observed.role
    if closed := why_closed(model):
        raise UsageError(
            f"the {role} is {closed}: layers cannot be read, so none can be linked. Pass the module that it was made "
            "of, or link outputs (@output)"
        )
    names = [name for name, _ in model.named_modules()]
    with untouched(model), evaluating(model), _listening(observed, names, examples_in(inputs)) as found:
        try:
            with observed.arithmetic():
                # A copy, because a model may work in place on what it gets.
                call_model(model, observed.seen(tree_map_only(Tensor, snapshot, inputs)))
        except LayerlinkError:
            raise
        except Exception as error:
            raise UsageError(
                f"the {role} cannot be run on the first batch: {told(error)}. A batch must be what both models take: a "
                "tensor, a tuple of positional or a mapping of keyword arguments"
            ) from error
    return Pass(tuple(found), Counter(call.path for call in found))


@contextmanager
def _listening(observed: Observed, names: list[str], examples: int) -> Iterator[list[Call]]:
    found: list[Call] = []
    counts: Counter[str] = Counter()

    running: list[str] = []

    def hear(name: str) -> Any:
        def heard(_module: Any, _args: Any, output: Any) -> None:
            running.pop()
            found.append(_call(name, counts[name], output, running[-1] if running else "", examples))
            counts[name] += 1

        return heard

    model = observed.model
    handles: list[Any] = []
    for name in names:
        module = model.get_submodule(name)
        handles.append(module.register_forward_pre_hook(lambda _module, _args, name=name: running.append(name)))
        handles.append(module.register_forward_hook(hear(name)))
    try:
        with outside_of_graphs(model, map(Tap, names), fused=has_fused_path(model)):
            yield found
    finally:
        for handle in handles:
            handle.remove()


def _call(name: str, number: int, output: Any, within: str, examples: int) -> Call:
    element, tensor = next(_tensors(output, ()), ((), None))
    if tensor is None or tensor.ndim not in (2, 3, 4) or len(tensor) != examples or not tensor.numel():
        return Call(name, number, element, None, within)
    return Call(name, number, element, tuple(tensor.shape), within, _print(tensor))


def _tensors(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Floating tensors of what a module returned, the first one first: hidden states stand before all else."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield keys, value
    elif len(keys) < _DEEPEST:
        for key, item in _items(value):
            yield from _tensors(item, (*keys, key))


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple | list):
        return [(str(place), item) for place, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return []


def _print(tensor: Tensor) -> int:
    plain = tensor.detach().contiguous().cpu()
    return zlib.crc32(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
