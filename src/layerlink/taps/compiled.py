"""Models under ``torch.compile``, and torch's fused paths: hooks that live for one pass are seen in neither."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from layerlink.taps.tap import Tap


@contextmanager
def outside_of_graphs(model: nn.Module, taps: Iterable[Tap], *, fused: bool) -> Iterator[None]:
    """Let every tap see its layer: what hides it runs eagerly for this pass, and everything else as it was.

    A layer inside of a compiled module is hidden by its graph, one inside of a frozen transformer encoder by torch's
    fused path, which also packs padded sequences into nested tensors. A tap at a compiled block itself costs nothing.

    Args:
        model: any.
        taps: to be read in this pass.
        fused: what ``has_fused_path`` says of the model.
    """
    inner = [tap for tap in taps if tap.module]
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules and any(_is_inside(model, tap.module) for tap in inner):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if fused and inner and torch.backends.mha.get_fastpath_enabled():
            torch.backends.mha.set_fastpath_enabled(False)
            stack.callback(torch.backends.mha.set_fastpath_enabled, True)
        yield


def _is_inside(model: nn.Module, path: str) -> bool:
    """Whether the module at ``path`` is in the graph of a compiled one."""
    module = model
    for name in (*path.split("."), None):
        if getattr(module, "_compiled_call_impl", None) is not None:
            return True
        if name is None:
            return False
        if hasattr(module, "_orig_mod"):
            return True
        found = getattr(module, name, None)
        if not isinstance(found, nn.Module):
            return False
        module = found
    return False


def is_compiled(model: nn.Module) -> bool:
    """Whether a model, or a part of it, is compiled by whoever made it."""
    modules = model.modules()
    return any(hasattr(it, "_orig_mod") or getattr(it, "_compiled_call_impl", None) is not None for it in modules)


def has_fused_path(model: nn.Module) -> bool:
    """Whether torch may run some of its layers as one operation, in which none of their parts is seen."""
    return any(isinstance(module, nn.TransformerEncoderLayer | nn.MultiheadAttention) for module in model.modules())
