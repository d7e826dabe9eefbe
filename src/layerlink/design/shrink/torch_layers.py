"""Layers of torch that do not keep their arguments under the names that they take them by."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import nn

_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)


def known_arguments(module: nn.Module) -> dict[str, Any]:
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
