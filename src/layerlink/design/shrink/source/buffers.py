"""Tensors of a module's own as source: causal masks and positions by the call that makes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# What follows the name of a tensor, by how the module holds it.
PARAMETER, SCALE, BUFFER, PASSING = "!parameter", "!scale", "!buffer", "!passing"
ZEROS, ONES = "!zeros", "!ones"  # buffers that are saved, of which the shape says all
_FEW = 64  # numbers that are written out, as of frequencies
_SCALES = ("weight", "scale", "gain", "gamma", "g")  # of norms: all zero, a layer gives nothing


class Code(str):
    """Source that stands as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def own_tensors(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """By name and kind the tensors that a module holds itself, as the code that makes them."""
    for name, value in module.named_parameters(recurse=False, remove_duplicate=False):
        yield f"{name}{SCALE if value.ndim == 1 and name in _SCALES else PARAMETER}", tuple(value.shape)
    for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
        if name in module._non_persistent_buffers_set:
            yield f"{name}{PASSING}", Code(_constant(buffer))
        elif buffer.dtype == torch.float32 and (kind := _filled(name, buffer)):
            yield f"{name}{kind}", tuple(buffer.shape)
        else:
            yield f"{name}{BUFFER}", Code(made_by(buffer) or f"torch.zeros({tuple(buffer.shape)}{_dtype(buffer)})")


def _filled(name: str, buffer: Tensor) -> str:
    """Whether a saved buffer begins as zeros or ones; nothing where a call of its own makes it.

    Variances begin as ones: a norm divides by them until the weights are read.
    """
    if name.endswith("var"):
        return ONES
    made = made_by(buffer)
    return ONES if made.startswith("torch.ones(") else ZEROS if not made or made.startswith("torch.zeros(") else ""


def listed_parameters(module: nn.Module) -> dict[str, Any]:
    """The argument of a ``ParameterList`` or ``ParameterDict``, as code."""
    made = {name: f"nn.Parameter(torch.zeros({tuple(it.shape)}))" for name, it in module.named_parameters()}
    if isinstance(module, nn.ParameterList):
        return {"values": Code(f"[{', '.join(made.values())}]")}
    pairs = ", ".join(f"{json.dumps(name)}: {text}" for name, text in made.items())
    return {"parameters": Code(f"{{{pairs}}}")}


def statement(key: str, text: str) -> str:
    """The line of a class that makes a tensor, from its name with its kind, and its shape or code."""
    name, _, kind = key.partition("!")
    if f"!{kind}" in (PARAMETER, SCALE):
        return f"self.{name} = nn.Parameter(torch.{'ones' if f'!{kind}' == SCALE else 'zeros'}({text}))"
    if f"!{kind}" in (ZEROS, ONES):
        return f'self.register_buffer("{name}", torch.{kind}({text}))'
    return f'self.register_buffer("{name}", {text}{", persistent=False" if f"!{kind}" == PASSING else ""})'


def keep_buffers(model: nn.Module) -> list[str]:
    """Save the buffers with the weights that were not, and that no short code makes; the paths of those."""
    kept = []
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name in module._non_persistent_buffers_set and not _constant(buffer):
                module._non_persistent_buffers_set.discard(name)
                kept.append(f"{path}.{name}".lstrip("."))
    return kept


def _constant(value: Tensor) -> str:
    """The code of a buffer that is not saved: the call that makes it, or its few numbers."""
    few = value.numel() <= _FEW and value.dtype not in (torch.bfloat16, torch.float16)
    return made_by(value) or (f"torch.tensor({value.tolist()}{_dtype(value)})" if few else "")


def made_by(value: Tensor) -> str:
    """The call that makes a constant, a triangle (a causal mask) or positions; empty for everything else."""
    value = value.detach().cpu()
    shape, dtype = tuple(value.shape), _dtype(value)
    if not value.numel():
        return ""
    for name, filled in (("zeros", 0), ("ones", 1)):
        if bool((value == filled).all()):
            return f"torch.{name}({shape}{dtype})"
    lead = all(size == 1 for size in shape[:-2])
    if lead and value.ndim > 1 and (text := _triangle(value.reshape(shape[-2:]), dtype)):
        return text + (f".view{shape}" if value.ndim > 2 else "")
    if all(size == 1 for size in shape[:-1]) and value.ndim and value.dtype != torch.bool:
        places = torch.arange(shape[-1], dtype=value.dtype)
        if torch.equal(value.reshape(-1), places):
            whole = "" if value.dtype == torch.int64 else f", dtype={value.dtype}"
            return f"torch.arange({shape[-1]}{whole})" + (f".view{shape}" if value.ndim > 1 else "")
    return ""


def _triangle(value: Tensor, dtype: str) -> str:
    shape = tuple(value.shape)
    below = torch.ones(shape, dtype=torch.bool).tril()
    low, high = value[below], value[~below]
    if not len(high) or bool((low != low[0]).any()) or bool((high != high[0]).any()):
        return ""
    inside, outside = low[0].item(), high[0].item()
    if (inside, outside) == (1, 0):
        return f"torch.tril(torch.ones({shape}{dtype}))"
    if inside != 0:
        return ""
    shown = f'float("{outside}")' if outside in (float("inf"), float("-inf")) else repr(outside)
    made = f"torch.ones({shape}{dtype})" if outside == 1 else f"torch.full({shape}, {shown}{dtype})"
    return f"torch.triu({made}, diagonal=1)"


def _dtype(value: Tensor) -> str:
    return "" if value.dtype == torch.float32 else f", dtype={value.dtype}"
