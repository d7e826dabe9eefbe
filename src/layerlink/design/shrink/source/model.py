"""A model as plain PyTorch source: one class a kind of module, a function that builds it; no layerlink in it."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from layerlink.design.shrink.passes import Call, Pass
from layerlink.design.shrink.source.buffers import Code, listed_parameters, own_tensors, statement
from layerlink.design.shrink.source.lines import broken
from layerlink.design.shrink.source.torch_layers import arguments_of
from layerlink.design.shrink.source.tracing import forward_text
from layerlink.errors import UsageError

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NAMES = tuple(f"nn.{it.__name__}" for it in _LISTS)
_HOLDS = "# Not called itself for the examples: it holds what others call, or what is used elsewhere."
_REPEATED = 4  # equal layers of a list, that are written once


@dataclass
class Made:
    """How a module is made.

    Args:
        kind: what is called: ``nn.Conv2d``, ``nn.Sequential``, or a class that is written out.
        arguments: by name; of what is a list by place.
        children: of a class that is written out, by name.
        forward: its method.
    """

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Made] = field(default_factory=dict)
    forward: str = ""

    @property
    def form(self) -> tuple[Any, ...]:
        """What it has in common with others that the same class makes, with other numbers."""
        return (
            self.kind,
            tuple(self.arguments),
            tuple((name, it.form) for name, it in self.children.items()),
            self.forward,
        )

    def values(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Every number in it, by its place."""
        yield from (((name,), value) for name, value in self.arguments.items())
        for name, it in self.children.items():
            yield from (((name, *place), value) for place, value in it.values())


def write_source(model: nn.Module, seen: Pass, about: str, *, both_ways: bool = True) -> str:
    """The source of a module that builds ``model`` by a function ``build()``.

    Args:
        model: in eval mode.
        seen: a pass through it.
        about: the docstring.
        both_ways: whether what modules do in training alone is written too.

    Raises:
        UsageError: where a part of it cannot be written; it is named.
    """
    top = _made(model, "", seen, both_ways)
    if not top.forward:
        top = Made("Student", children={"0": top}) if not top.children else top
    classes = _Classes()
    expression = classes.expression(top, {})
    lines = [f'"""{about}"""', "", "import torch", "import torch.nn.functional as F", "from torch import nn"]
    text = "\n".join(lines) + "\n\n\n" + "".join(f"{it}\n\n\n" for it in classes.texts)
    text += _build(expression, model)
    if re.search(r"\bmath\.", text):
        text = text.replace("import torch\n", "import math\n\nimport torch\n", 1)
    if "OrderedDict(" in text:
        text = text.replace("import torch\n", "from collections import OrderedDict\n\nimport torch\n", 1)
    if "F." not in text.replace("import torch.nn.functional as F", ""):
        text = text.replace("import torch.nn.functional as F\n", "")
    return text if re.search(r"torch\.", text.replace("import torch.nn", "")) else text.replace("import torch\n", "", 1)


def _build(expression: str, model: nn.Module) -> str:
    """The function that builds it.

    torch draws the weights of a convolution so small that deep networks lose the signal; nearly every class of networks
    replaces them by those of He et al. (2015, arXiv 1502.01852, equation 10), and so does this one. Where no norm
    follows, layers between the convolutions and the output need them as well.
    """
    tied = "".join(f"    {it}\n" for it in _ties(model))
    convolves = any(isinstance(it, nn.Conv2d) for it in model.modules())
    if not convolves and not tied:
        return f'def build():\n    """The model, with new weights."""\n    return {expression}\n'
    how = ": of He et al. (2015) where it convolves." if convolves else "."
    normed = any("Norm" in type(it).__name__ for it in model.modules())
    drawn = f"""    for module in model.modules():
        if isinstance(module, {"nn.Conv2d" if normed else "(nn.Conv2d, nn.Linear)"}):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
"""
    head = f'def build():\n    """The model, with new weights{how}"""\n    model = {expression}\n'
    return f"{head}{tied}{drawn if convolves else ''}    return model\n"


def _ties(model: nn.Module) -> Iterator[str]:
    """What makes weights one that are one in the model."""
    first: dict[int, str] = {}
    for path, value in model.named_parameters(remove_duplicate=False):
        if id(value) in first:
            yield f"{_place(path)} = {_place(first[id(value)])}"
        first.setdefault(id(value), path)


def _place(path: str) -> str:
    """A parameter as one would write it."""
    *names, last = path.split(".")
    if not all(name.isdigit() or (name.isidentifier() and not keyword.iskeyword(name)) for name in names):
        return f"model.get_submodule({'.'.join(names)!r}).{last}"
    return "model" + "".join(f"[{name}]" if name.isdigit() else f".{name}" for name in names) + f".{last}"


def _made(module: nn.Module, path: str, seen: Pass, both_ways: bool) -> Made:
    children = {
        name: _made(child, f"{path}.{name}".lstrip("."), seen, both_ways)
        for name, child in module.named_children()
        if type(child).__name__ != "Removed"
    }
    if type(module) in _LISTS:
        return Made(f"nn.{type(module).__name__}", children=children)
    if type(module) in (nn.ParameterList, nn.ParameterDict):
        return Made(f"nn.{type(module).__name__}", listed_parameters(module))
    if type(module).__module__.startswith("torch.nn"):
        return _of_torch(module, path)
    calls = [call for call in seen.calls if call.path == path]
    if not calls and not module.state_dict() and not any(call.path.startswith(f"{path}.") for call in seen.calls):
        return Made("nn.Identity")
    own = dict(own_tensors(module))
    forward = _forward(module, calls, path, both_ways) if calls else _HOLDS
    return Made(type(module).__name__, own, children, forward)


def _forward(module: nn.Module, calls: list[Call], path: str, both_ways: bool) -> str:
    texts = {forward_text(module, call, both_ways=both_ways) for call in calls}
    if len(texts) > 1:
        raise UsageError(f"{path} runs {len(calls)} times, each time another way")
    return texts.pop()


def _of_torch(module: nn.Module, path: str) -> Made:
    """A layer of torch's own, by the arguments that differ from its defaults."""
    kind = type(module)
    given = arguments_of(module)
    if given is None:
        raise UsageError(f"{path} ({kind.__name__}) cannot be written as a call of nn.{kind.__name__}")
    inner = {name: _of_torch(value, path) for name, value in given.items() if isinstance(value, nn.Module)}
    return Made(f"nn.{kind.__name__}", {**given, **inner})


class _Classes:
    """The classes that were written, and those that are still to be."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.names: dict[Any, tuple[str, dict[tuple[str, ...], str]]] = {}
        self.all: dict[Any, list[Made]] = {}

    def expression(self, made: Made, named: dict[tuple[str, ...], str]) -> str:
        """The call that makes ``made``; values in ``named`` are the name of a variable."""
        self._count(made)
        return self._call(made, (), named)

    def _count(self, made: Made) -> None:
        self.all.setdefault(made.form, []).append(made)
        for it in made.children.values():
            self._count(it)

    def _call(self, made: Made, at: tuple[str, ...], named: dict[tuple[str, ...], str]) -> str:
        if made.forward:
            name, variables = self._written(made)
            values = dict(made.values())
            first = {variable: place for place, variable in reversed(list(variables.items()))}
            given = [
                f"{variable}={named.get((*at, *place), _shown(values[place]))}"
                for variable, place in sorted(first.items(), key=lambda it: list(variables).index(it[1]))
            ]
            return f"{name}({', '.join(given)})"
        if made.kind in _NAMES:
            return _list(made, [self._call(it, (*at, name), named) for name, it in made.children.items()])
        arguments = [(name, named.get((*at, name), _shown(value))) for name, value in made.arguments.items()]
        plain = [name for name, _ in arguments][:3] in (["in_channels", "out_channels", "kernel_size"],)
        places = 3 if plain else 2 if [name for name, _ in arguments][:2] == ["in_features", "out_features"] else 0
        places = places or int(
            [name for name, _ in arguments][:1] in (["num_features"], ["kernel_size"], ["output_size"])
        )
        shown = [text if place < places else f"{name}={text}" for place, (name, text) in enumerate(arguments)]
        return f"{made.kind}({', '.join(shown)})"

    def _written(self, made: Made) -> tuple[str, dict[tuple[str, ...], str]]:
        if made.form not in self.names:
            variables = _variables(self.all[made.form])
            taken = {name for name, _ in self.names.values()}
            name, number = made.kind, 2
            while name in taken:
                name, number = f"{made.kind}{number}", number + 1
            self.names[made.form] = (name, variables)
            self.texts.append(self._text(name, made, variables))
        return self.names[made.form]

    def _text(self, name: str, made: Made, variables: dict[tuple[str, ...], str]) -> str:
        numbered = bool(made.children) and all(it.isdigit() for it in made.children)
        head = "".join(f", {it}" for it in dict.fromkeys(variables.values()))
        lines = [f"class {name}(nn.{'Sequential' if numbered else 'Module'}):"]
        body = ["super().__init__()"] if not numbered else []
        calls = {child: self._call(it, (child,), variables) for child, it in made.children.items()}
        if numbered:
            body.append(f"super().__init__({', '.join(calls.values())})")
        else:
            body += [f"self.{child} = {call}" for child, call in calls.items()]
        body += [statement(key, variables.get((key,), _shown(value))) for key, value in made.arguments.items()]
        if made.children or made.arguments:
            lines += [f"    def __init__(self{head}):", *(part for it in body for part in broken(f"        {it}")), ""]
        lines += [part for it in made.forward.split("\n") for part in broken(f"    {it}")]
        return "\n".join(lines)


def _list(made: Made, parts: list[str]) -> str:
    if made.kind == "nn.ModuleDict" or any(not name.isdigit() for name in made.children):
        pairs = ", ".join(f"{json.dumps(name)}: {part}" for name, part in zip(made.children, parts, strict=True))
        return (
            f"nn.ModuleDict({{{pairs}}})"
            if made.kind == "nn.ModuleDict"
            else f"nn.Sequential(OrderedDict({{{pairs}}}))"
        )
    listed = ", ".join(parts)
    if len(parts) >= _REPEATED and len(set(parts)) == 1:
        listed = f"{parts[0]} for _ in range({len(parts)})"
        return f"{made.kind}([{listed}])" if made.kind == "nn.ModuleList" else f"{made.kind}(*[{listed}])"
    return f"{made.kind}([{listed}])" if made.kind == "nn.ModuleList" else f"{made.kind}({listed})"


def _variables(every: list[Made]) -> dict[tuple[str, ...], str]:
    """Names of the numbers in which modules of one class differ; those that are always equal have one.

    What a call makes is no number: two buffers that shared a name would be one tensor.
    """
    tables = [dict(it.values()) for it in every]
    varying: dict[tuple[Any, ...], list[tuple[str, ...]]] = {}
    for place in tables[0]:
        values = tuple(repr(table[place]) for table in tables)
        if len(set(values)) > 1:
            own = place if isinstance(tables[0][place], Code) else ()
            varying.setdefault((values, own), []).append(place)
    names: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for places in varying.values():
        name = places[0][-1].partition("!")[0]
        if name in taken or keyword.iskeyword(name):
            name = "_".join(it for it in places[0] if "!" not in it)
            name = f"m{name}" if name[:1].isdigit() or not name else name
        stem, number = name, 2
        while name in taken or keyword.iskeyword(name):
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names |= dict.fromkeys(places, name)
    return names


def _shown(value: Any) -> str:
    if isinstance(value, Made):
        return _Classes().expression(value, {})
    return repr(value) if not isinstance(value, torch.Size) else repr(tuple(value))
