"""What stands for a value while a forward method is recorded: its place in the graph, and the value of the examples.

Sizes stay names in the graph as far as Python lets them: ``math.sqrt(k.size(-1))``, ``torch.arange(T)``. Where Python
asks for a plain number, such as in ``range(T)``, it is that of the examples. A number that depends on the values of a
tensor, and not on its size alone, is never taken from the examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx

# They give plain numbers that depend on a tensor's values.
_READING = {"item", "tolist", "numpy", "equal", "allclose", "is_nonzero"}
# They take sizes as plain numbers, and do not ask what stands for a number whether it would rather be recorded.
_TAKING_SIZES = {
    math: ("sqrt", "log", "log2", "exp", "pow", "ceil", "floor", "prod"),
    torch: ("arange", "zeros", "ones", "full", "empty", "eye", "linspace", "tril_indices", "triu_indices", "finfo"),
}


class DecidesByValuesError(Exception):
    """A branch, a loop or a size that depends on the values of a tensor."""


class Known(fx.Proxy):
    """A value of the graph whose value for the examples is known."""

    def __getattr__(self, name: str) -> Any:
        value = self.tracer.values[self.node]  # type: ignore[attr-defined]
        if callable(getattr(value, name)):
            return super().__getattr__(name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __index__(self) -> int:
        return int(number(self).__index__())

    def __int__(self) -> int:
        return int(number(self))

    def __float__(self) -> float:
        return float(number(self))

    def __len__(self) -> int:
        tracer: Any = self.tracer
        if self.node in tracer.read:
            raise DecidesByValuesError
        return len(tracer.values[self.node])


def number(proxy: fx.Proxy) -> Any:
    """The value for the examples, as a plain number.

    Raises:
        DecidesByValuesError: where it depends on more than sizes.
    """
    tracer: Any = proxy.tracer
    value = tracer.values[proxy.node]
    if isinstance(value, Tensor) or proxy.node in tracer.read:
        raise DecidesByValuesError
    return value


def reads_values(node: fx.Node, values: dict[fx.Node, Any], read: set[fx.Node]) -> bool:
    """Whether a value that is no tensor depends on the values of one."""
    if isinstance(values[node], Tensor):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    given = node.all_input_nodes
    return any(it in read for it in given) or (name in _READING and any(isinstance(values[it], Tensor) for it in given))


@contextmanager
def recorded_functions(method: Any, record: Callable[[Any, Any, Any], Any]) -> Iterator[None]:
    """Record functions that take sizes, by ``record(function, args, kwargs)``, where one is of the graph.

    Args:
        method: that is recorded; the names in its file that stand for such functions, and ``len``, are its own.
        record: gives what stands for the result.
    """
    names = getattr(method, "__globals__", {})
    taking = {id(getattr(owner, name)): getattr(owner, name) for owner, all_ in _TAKING_SIZES.items() for name in all_}
    own = {name: it for name, it in names.items() if id(it) in taking} | {"len": names.get("len", len)}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(names, {name: _wrapped(it, record) for name, it in own.items()}))
        for owner, all_ in _TAKING_SIZES.items():
            for name in all_:
                stack.enter_context(mock.patch.object(owner, name, _wrapped(getattr(owner, name), record)))
        yield


def _wrapped(function: Any, record: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        flat = [part for it in (*args, *kwargs.values()) for part in (it if isinstance(it, tuple | list) else (it,))]
        found = any(isinstance(it, fx.Proxy) for it in flat)
        return record(function, args, kwargs) if found else function(*args, **kwargs)

    return called
