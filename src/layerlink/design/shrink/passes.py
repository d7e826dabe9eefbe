"""One pass through a model: what every module was called with, and what it gave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from layerlink.errors import UsageError
from layerlink.taps.modes import evaluating, untouched
from layerlink.taps.modules import call_model
from layerlink.user_code import told


@dataclass
class Call:
    """A call of a module.

    Args:
        path: the module's.
        args: positional arguments.
        kwargs: the others.
        output: what it gave.
    """

    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any = None

    @property
    def given(self) -> Tensor | None:
        """Its first tensor."""
        return first_tensor((self.args, self.kwargs))

    @property
    def gave(self) -> Tensor | None:
        """The first tensor of its output."""
        return first_tensor(self.output)


@dataclass
class Pass:
    """The calls of a pass, in the order in which they began."""

    calls: list[Call] = field(default_factory=list)

    def once(self, path: str) -> Call | None:
        """The call of a module that ran exactly once."""
        found = [call for call in self.calls if call.path == path]
        return found[0] if len(found) == 1 else None


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in lists, tuples and mappings."""
    return next((leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)), None)


def run_pass(model: nn.Module, inputs: Any) -> Pass:
    """Run a model in eval mode, without gradients, and leave it as it was.

    Args:
        model: any module.
        inputs: a tensor, a tuple (positional) or a mapping (keyword arguments).

    Raises:
        UsageError: where it cannot be run.
    """
    seen = Pass()
    with _hooked(model, seen), untouched(model), evaluating(model), torch.no_grad():
        try:
            call_model(model, inputs)
        except Exception as error:
            raise UsageError(f"the teacher cannot be run on the examples: {told(error)}") from error
    return seen


@contextmanager
def _hooked(model: nn.Module, seen: Pass) -> Iterator[None]:
    open_calls: list[Call] = []

    def before(path: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = Call(path, args, kwargs)
        seen.calls.append(call)
        open_calls.append(call)

    def after(_module: nn.Module, _args: Any, output: Any) -> None:
        open_calls.pop().output = output

    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(partial(before, path), with_kwargs=True))
        handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
