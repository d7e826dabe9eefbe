"""The forward method of one module as text, its children called and not opened.

torch.fx records it, with real examples beside: a branch that looks at a size, or at whether an argument was passed, is
decided as it was for the examples. One that looks at the values of a tensor is refused.
"""

from __future__ import annotations

import inspect
import random
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from layerlink.design.shrink.passes import Call
from layerlink.design.shrink.source.known import DecidesByValuesError, Known, number, reads_values, recorded_functions
from layerlink.design.shrink.source.lines import tidied
from layerlink.errors import UsageError
from layerlink.user_code import told

# Stands in a source where the original does something else while it is trained.
LEFT_OUT = "# In training the original does something else here, which is left out."


class _Tracer(fx.Tracer):
    """Records one module, and knows the value of everything that it records."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.root = module
        self.graph = fx.Graph(tracer_cls=_Tracer)
        self.values: dict[fx.Node, Any] = {}
        self.read: set[fx.Node] = set()  # numbers that depend on the values of tensors
        self.own: dict[str, fx.Proxy] = {}  # parameters and buffers, by path
        self.paths = {id(it): path for path, it in module.named_modules()}
        self.tensor_attrs: dict[Any, str] = {}
        self.computing = False

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **others: Any) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **others)
        if kind != "placeholder":
            self.values[proxy.node] = self._computed(proxy.node)
            if reads_values(proxy.node, self.values, self.read):
                self.read.add(proxy.node)
        return proxy

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Known(node, self)

    def tensor(self, path: str) -> fx.Proxy:
        """A parameter or buffer of the module's own."""
        if path not in self.own:
            self.own[path] = self.create_proxy("get_attr", path, (), {})
        return self.own[path]

    def _computed(self, node: fx.Node) -> Any:
        args, kwargs = map_arg((tuple(node.args), dict(node.kwargs)), lambda it: self.values[it])
        drawn = torch.get_rng_state()
        self.computing = True
        try:
            if node.op == "call_module":
                return self.root.get_submodule(str(node.target))(*args, **kwargs)
            if node.op == "get_attr":
                found: Any = self.root
                for name in str(node.target).split("."):
                    found = getattr(found, name)
                return found
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            return node.target(*args, **kwargs)  # type: ignore[operator]
        finally:
            self.computing = False
            torch.set_rng_state(drawn)  # what is recorded draws again where the source runs

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, nn.Module):
            node = self.create_node("get_attr", self.paths[id(a)], (), {})
            self.values[node] = a
            return node
        made = super().create_arg(a)
        if isinstance(made, fx.Node) and made not in self.values:  # a parameter or buffer of the module's own
            self.values[made] = self._computed(made)
        return made

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(number(obj))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        parts: Any = obj
        return iter([parts[place] for place in range(len(parts))])


def forward_text(module: nn.Module, call: Call, *, both_ways: bool = True) -> str:
    """The source of a module's forward method, without what its recorded call did not need.

    What the method passes on of ``self.training`` stays so. What else it does in training stands in a branch of its
    own; where it cannot be recorded, such as a draw of Python's that leaves a block out, a comment says so.

    Args:
        module: in eval mode.
        call: as it was called.
        both_ways: False: no branch for training, but the comment.

    Raises:
        UsageError: where torch.fx cannot follow it.
    """
    text = _recorded(module, call)
    learning = _learning(module, call)
    if learning == text:
        return text
    words, others = (re.split(r"(\d+\.\d+(?:e-?\d+)?|\w+)", it) for it in (text, learning))
    both = [_either(*pair) for pair in zip(words, others, strict=False)]
    if len(words) == len(others) and None not in both:
        return "".join(it for it in both if it is not None)
    head, _, rest = text.partition("\n")
    if not both_ways or not learning or learning.partition("\n")[0] != head:
        return f"{head}\n    {LEFT_OUT}\n{rest}"
    branch = "\n".join(f"    {line}" for line in learning.partition("\n")[2].split("\n"))
    return f"{head}\n    if self.training:\n{branch}\n{rest}"


def _learning(module: nn.Module, call: Call) -> str:
    """The method as it runs in training; nothing where it cannot be recorded, or decides by what it drew.

    That is a draw of Python's generator, or one of torch's that is in no recorded function. What it counts or averages
    is put back.
    """
    before, drawn = {name: it.clone() for name, it in module.named_buffers()}, random.getstate()
    state = torch.get_rng_state()
    module.training = True  # its own flag alone: what it calls is recorded and not opened
    try:
        text = _recorded(module, call)
    except UsageError:
        return ""
    finally:
        module.training = False
        for name, it in module.named_buffers():
            if name in before:
                it.copy_(before[name])
    decided = random.getstate() != drawn or not torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(state)
    return "" if decided or "_tensor_constant" in text else text


def _either(one: str, other: str) -> str | None:
    """A word that is another in training, as code that decides; nothing where that cannot be told."""
    if one == other:
        return one
    if (one, other) == ("False", "True"):
        return "self.training"
    if re.fullmatch(r"\d+(\.\d+)?", one) and re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", other):
        return f"({other} if self.training else {one})"
    return None


def _recorded(module: nn.Module, call: Call) -> str:
    tracer = _Tracer(module)
    passed = inspect.signature(module.forward).bind(*call.args, **call.kwargs).arguments
    run = nn.Module.__call__

    def called(it: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if tracer.computing or id(it) not in tracer.paths:
            return run(it, *args, **kwargs)
        return tracer.create_proxy("call_module", tracer.paths[id(it)], args, kwargs)

    read = nn.Module.__getattr__

    def found(it: nn.Module, name: str) -> Any:
        value = read(it, name)
        if tracer.computing or not isinstance(value, torch.Tensor) or id(it) not in tracer.paths:
            return value
        return tracer.tensor(f"{tracer.paths[id(it)]}.{name}".lstrip("."))

    def record(function: Any, args: Any, kwargs: Any) -> Any:
        return tracer.create_proxy("call_function", function, args, kwargs)

    try:
        with (
            torch.no_grad(),
            mock.patch.object(nn.Module, "__call__", called),
            mock.patch.object(nn.Module, "__getattr__", found),
            recorded_functions(inspect.unwrap(type(module).forward), record),
        ):
            given: dict[str, Any] = {}
            for name, value in passed.items():
                rest = list(passed.values())[len(given) :]
                given[name] = _placeholder(tracer, name, value, optional=not any(map(_varies, rest)))
            output = module.forward(**given)
            tracer.create_node("output", "output", (tracer.create_arg(output),), {})
    except Exception as error:
        raise UsageError(_cannot(module, call.path, error)) from error
    for node in reversed(tracer.graph.nodes):
        if node.op == "call_module" and type(module.get_submodule(str(node.target))).__name__ == "Removed":
            node.replace_all_uses_with(node.args[0])
    tracer.graph.eliminate_dead_code(_stays)
    return tidied(tracer.graph.python_code("self").src)


def _stays(node: fx.Node) -> bool:
    """Whether a step is needed though nobody uses what it gives: it is an end, or changes a tensor in its place."""
    in_place = node.op == "call_method" and re.fullmatch(r"[a-z]\w*[a-z0-9]_", str(node.target)) is not None
    return node.op in ("output", "placeholder") or in_place


def _cannot(module: nn.Module, path: str, error: Exception) -> str:
    method = f"{type(module).__name__}.forward{f' ({path})' if path else ''}"
    if isinstance(error, DecidesByValuesError):
        return (
            f"{method} decides by the values of a tensor{_line(module, error)}, which the source cannot do: "
            "compute both and choose by torch.where, or take the decision out of forward"
        )
    return f"torch.fx cannot follow {method}: {told(error)}; write that line with operations of torch on tensors"


def _line(module: nn.Module, error: Exception) -> str:
    """Where in the file of a module's class an error arose."""
    file = inspect.unwrap(type(module).forward).__code__.co_filename
    lines = [it.lineno for it in traceback.extract_tb(error.__traceback__) if it.filename == file]
    return f" in line {lines[-1]} of {Path(file).name}" if lines else ""


def _varies(value: Any) -> bool:
    return isinstance(value, torch.Tensor | nn.Module)


def _placeholder(tracer: _Tracer, name: str, value: Any, *, optional: bool) -> Any:
    """An argument; of one that is no tensor the value itself is used, and stands as its default."""
    if not _varies(value):
        plain = value is None or isinstance(value, bool | int | float | str)
        tracer.create_node("placeholder", name, (value,) if optional and plain else (), {})
        return value
    proxy = tracer.create_proxy("placeholder", name, (), {})
    tracer.values[proxy.node] = value
    return proxy
