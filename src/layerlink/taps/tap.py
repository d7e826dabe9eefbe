"""Taps: named read points in any ``nn.Module``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from layerlink.errors import UsageError, closest

_TAP = re.compile(
    r"(?P<module>[^\s@#\[\]:*]*)(@(?P<side>input|output))?(#(?P<call>[0-9]{1,9}))?(?P<element>(\[[^\[\]]+\])*)"
)
_WHOLE = re.compile(r"-?[0-9]{1,18}")
TAP_FORM = "MODULE[@input][#CALL][[ELEMENT]], such as layer3.0, relu#1, block@input or encoder[hidden_states][2]"


@dataclass(frozen=True)
class Tap:
    """A read point in a model.

    Args:
        module: the module's path, as in ``model.named_modules()``; empty for the model itself.
        side: what is read, the module's output or its first input.
        call: which call of the module in one forward pass, from 0. None: its only one; a module that runs more
            than once is then an error, because nothing says which run is meant.
        element: keys into what the module returns (or receives): indices of a tuple or list, keys of a mapping,
            attribute names of a dataclass. On the input side the first key is a position or a keyword.
    """

    module: str
    side: Literal["input", "output"] = "output"
    call: int | None = None
    element: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Tap:
        """The tap that ``text`` names.

        Raises:
            UsageError: where the text has not the form of a tap.

        >>> Tap.parse("encoder.2@input#1[0]")
        Tap(module='encoder.2', side='input', call=1, element=('0',))
        """
        match = _TAP.fullmatch(text.strip())
        if match is None or not text.strip():
            raise UsageError(f"{text.strip()!r} is not a layer's name. Expected {TAP_FORM}")
        return cls(
            module=match["module"],
            side="input" if match["side"] == "input" else "output",
            call=None if match["call"] is None else int(match["call"]),
            element=tuple(re.findall(r"\[([^\[\]]+)\]", match["element"])),
        )

    def __str__(self) -> str:
        side = "@input" if self.side == "input" else ""
        call = "" if self.call is None else f"#{self.call}"
        return f"{self.module}{side}{call}" + "".join(f"[{key}]" for key in self.element) or "@output"  # of the model


class ElementError(UsageError):
    """A value has no such element, or is not a tensor."""


def pick(value: Any, element: Sequence[str], name: str) -> Tensor:
    """The tensor at ``element`` inside ``value``, which ``name`` returned.

    Raises:
        ElementError: where there is none; the message lists what there is.
    """
    for position, key in enumerate(element):
        found = _child(value, key)
        if found is None:
            path = name + "".join(f"[{k}]" for k in element[:position])
            raise ElementError(f"{path} has no element {key!r}; it gives {_contents(value, path)}")
        value = found[0]
    path = name + "".join(f"[{key}]" for key in element)
    if not isinstance(value, Tensor):
        raise ElementError(f"{path} gives {_contents(value, path)}. Name the element to read")
    return value


def _child(value: Any, key: str) -> tuple[Any] | None:
    """The element of ``value`` under ``key``, in a 1-tuple; None where there is none."""
    if isinstance(value, Mapping):
        if key in value:
            return (value[key],)
        if _WHOLE.fullmatch(key) and int(key) in value:
            return (value[int(key)],)
    if isinstance(value, Sequence) and _WHOLE.fullmatch(key) and -len(value) <= int(key) < len(value):
        return (value[int(key)],)
    if key.isidentifier() and not isinstance(value, Tensor) and key in _names(value):
        return (getattr(value, key),)
    return None


def _names(value: Any) -> list[str]:
    """The field names of a dataclass or named tuple."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return list(getattr(value, "_fields", ()))


def _contents(value: Any, path: str) -> str:
    """What a value holds, as taps that could be written instead."""
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
    elif _names(value):
        keys = _names(value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        keys = [str(index) for index in range(len(value))]
    else:
        return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    return f"a {type(value).__name__} with {', '.join(f'{path}[{key}]' for key in keys) or 'nothing in it'}"


def find_module(model: nn.Module, path: str) -> nn.Module | None:
    """The module at ``path``, or None."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def no_such_layer(model: nn.Module, path: str, role: str) -> str:
    """The sentence that answers a path that ``role`` ("teacher", "student") does not have."""
    names = [name for name, _ in model.named_modules() if name]
    near = closest(path, names)
    hint = (
        f"Closest: {', '.join(near)}" if near else f"It has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    )
    return f"the {role} has no layer {path!r}. {hint}. All of them: layerlink layers MODEL"


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Run ``model`` on a tensor, a tuple (as positional) or a mapping (as keyword arguments)."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def overwritten_since(tensor: Tensor, version: int | None) -> bool:
    """Whether an in-place operation changed ``tensor`` after its version was taken."""
    return version is None or tensor._version != version


def version_of(tensor: Tensor) -> int | None:
    """The in-place version counter; None in inference mode, which keeps none."""
    return None if tensor.is_inference() else tensor._version


def snapshot(tensor: Tensor) -> Tensor:
    """A copy with the same place in the autograd graph and the same memory format."""
    return tensor.clone()
