"""The arguments that layers of torch are made by, those too that they do not keep under their names."""

from __future__ import annotations

import inspect
from typing import Any

import torch.nn.functional as F
from torch import nn

_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)


def arguments_of(module: nn.Module) -> dict[str, Any] | None:
    """The arguments of a layer that differ from its defaults; None where a call with them makes another layer."""
    for short in (True, False):  # one number for a tuple of equal ones is not always taken for the same
        given = _given(module, short=short)
        if _makes(module, given):
            return given
    return None


def _known(module: nn.Module) -> dict[str, Any]:
    """What of a layer's arguments is found elsewhere than under their names; nothing of all others."""
    if isinstance(module, nn.MultiheadAttention):
        return {"bias": module.in_proj_bias is not None, "add_bias_kv": module.bias_k is not None}
    if isinstance(module, _LAYERS):
        attention: Any = module.self_attn
        return {
            "d_model": attention.embed_dim,
            "nhead": attention.num_heads,
            "dim_feedforward": module.linear1.out_features,
            "dropout": module.dropout.p,
            "activation": "gelu" if module.activation is F.gelu else module.activation,
            "layer_norm_eps": module.norm1.eps,
            "batch_first": attention.batch_first,
            "bias": module.linear1.bias is not None,
        }
    if isinstance(module, _STACKS):
        first = "encoder_layer" if isinstance(module, nn.TransformerEncoder) else "decoder_layer"
        return {first: module.layers[0], "num_layers": len(module.layers)}
    return {}


def _given(module: nn.Module, *, short: bool) -> dict[str, Any]:
    """The arguments that differ from a layer's defaults; ``short``: one number for a tuple of equal ones."""
    given = dict[str, Any]()
    known = _known(module)
    for name, it in inspect.signature(type(module).__init__).parameters.items():
        if name in ("self", "device", "dtype") or it.kind in (it.VAR_POSITIONAL, it.VAR_KEYWORD):
            continue
        value = known.get(name, getattr(module, name, it.default))
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        if short and isinstance(value, tuple) and len(set(value)) == 1 and not isinstance(it.default, tuple):
            value = value[0]
        if name == "num_parameters":
            value = module.weight.numel()  # type: ignore[operator]
        if value != it.default and not (it.default is None and value is None):
            given[name] = value
    return given


def _makes(module: nn.Module, given: dict[str, Any]) -> bool:
    """Whether a call with these arguments makes such a layer."""
    try:
        again = type(module)(**given)
    except Exception:  # noqa: BLE001 - whatever a layer's own checks say
        return False
    shapes = [{name: value.shape for name, value in it.state_dict().items()} for it in (module, again)]
    return shapes[0] == shapes[1] and _says(again) == _says(module)


def _says(module: nn.Module) -> list[str]:
    return [it.extra_repr() for it in module.modules()]
