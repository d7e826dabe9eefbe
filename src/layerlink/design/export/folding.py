"""Batch norms as part of the convolution or linear layer before them: in evaluation both are one linear map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_ROUNDING = 1e-3  # of the largest output: what folding may change; sums in float32 are off by far less


@torch.no_grad()
def fold_batch_norms(model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Fold every batch norm that normalises nothing but the output of one layer.

    Which layer that is shows in a pass: the very tensor that a layer gave comes into the norm. A layer whose output
    is read elsewhere, too, would change what is read there; then the model's output is another one, and the pair is
    left as it was.

    Args:
        model: in eval mode; changed.
        inputs: positional, to run it on.

    Returns:
        How many were folded.
    """
    pairs = _pairs(model, inputs)
    before = model(*inputs)
    undo = [_fold(model, *pair) for pair in pairs]
    if _alike(model(*inputs), before):
        return len(pairs)
    for pair, modules in zip(pairs, undo, strict=True):
        _put(model, dict(zip(pair, modules, strict=True)))
    return sum(_folds_alone(model, pair, inputs, before) for pair in pairs)


def _folds_alone(model: nn.Module, pair: tuple[str, str], inputs: tuple[Tensor, ...], before: Tensor) -> bool:
    modules = _fold(model, *pair)
    if _alike(model(*inputs), before):
        return True
    _put(model, dict(zip(pair, modules, strict=True)))
    return False


def _pairs(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[str, str]]:
    """(layer, norm), each of which is called once in a pass."""
    names = {module: name for name, module in model.named_modules()}
    places = [id(module) for parent in model.modules() for module in parent._modules.values()]
    # By the tensor's number, which no other gets while it is kept; its version tells what was changed in place since.
    given: dict[int, tuple[nn.Module, int, Tensor]] = {}
    calls: dict[nn.Module, int] = {}
    found: dict[nn.Module, nn.Module] = {}

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        layer, version, _ = given.get(id(args[0]) if args else 0, (None, 0, None))
        if isinstance(module, _NORMS):
            if layer is not None and args[0]._version == version:
                found[module] = layer
        elif isinstance(output, Tensor):
            given[id(output)] = module, output._version, output

    handles = [it.register_forward_hook(hook) for it in names if type(it) in (*_NORMS, *_CONVOLUTIONS, nn.Linear)]
    try:
        model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    once = [(layer, norm) for norm, layer in found.items() if calls[layer] == calls[norm] == 1]
    return [
        (names[layer], names[norm])
        for layer, norm in once
        if norm.track_running_stats and not any(places.count(id(it)) > 1 or _is_special(it) for it in (layer, norm))
    ]


def _is_special(module: nn.Module) -> bool:
    """Whether its weights are made by other code, or something listens to it."""
    return parametrize.is_parametrized(module) or bool(module._forward_hooks or module._forward_pre_hooks)


def _fold(model: nn.Module, layer: str, norm: str) -> tuple[nn.Module, nn.Module]:
    """Fold a pair; what stood there before."""
    old: Any = model.get_submodule(layer)
    batch_norm: Any = model.get_submodule(norm)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = fuse_linear_bn_eval(old, batch_norm)
    else:
        new = fuse_conv_bn_eval(old, batch_norm, transpose="Transpose" in type(old).__name__)
    _put(model, {layer: new, norm: nn.Identity()})
    return old, batch_norm


def _put(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    for name, module in modules.items():
        parent, _, leaf = name.rpartition(".")
        model.get_submodule(parent)._modules[leaf] = module


def _alike(now: Tensor, before: Tensor) -> bool:
    return float((now - before).abs().max()) <= _ROUNDING * max(float(before.abs().max()), 1e-6)
