"""Elements of what a model takes and gives: tuples, mappings, dataclasses, and tensors inside of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from layerlink.errors import UsageError

_WHOLE = re.compile(r"-?[0-9]{1,18}")


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
            if value is None:
                raise ElementError(_is_none(path))
            raise ElementError(f"{path} has no element {key!r}; it gives {_contents(value, path)}")
        value = found[0]
    path = name + "".join(f"[{key}]" for key in element)
    if value is None:
        raise ElementError(_is_none(path))
    if not isinstance(value, Tensor):
        raise ElementError(f"{path} gives {_contents(value, path)}. Name the element to read")
    return value


def _is_none(path: str) -> str:
    """What a model has to be asked for, so that an element is there."""
    if "attn" in path.lower().replace("attention", "attn"):
        return (
            f"{path} is None: attention that is fused gives no maps. Ask for them: need_weights=True of torch's own, "
            "attn_implementation='eager' and output_attentions=True in transformers"
        )
    if "hidden_states" in path:
        return f"{path} is None: ask the model for it, output_hidden_states=True in a config of transformers"
    if path.endswith("[loss]"):
        return f"{path} is None: a model computes its loss where labels are among its inputs: put them there"
    return f"{path} is None: the model gives nothing there in such a pass"


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
