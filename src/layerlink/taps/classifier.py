"""The classifier of a model: the layer that gives its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError, unknown_name
from layerlink.taps.observed import Observed
from layerlink.taps.tap import OUTPUT
from layerlink.taps.trace import trace


def classifier_of(observed: Observed, inputs: Any) -> nn.Module:
    """The module that makes logits of features, with a ``weight`` (C, D): the one that was named, or the one that is
    seen to give the model's logits in a pass.

    Args:
        observed: the model, and its classifier's name where the user gave one.
        inputs: of two examples; None where there are none, and a name is needed.

    Raises:
        UsageError: where there is no such module, or none can be found.
    """
    role = observed.role
    layers: dict[str, nn.Module] = dict(observed.model.named_modules())
    if observed.head:
        if observed.head not in layers:
            raise UsageError(f"the {role}'s classifier: {unknown_name('layer', observed.head, layers)}")
        return layers[observed.head]
    how = f"name it: {role}_head='LAYER' (in a recipe {role}: {{head: LAYER}})"
    if inputs is None:
        raise UsageError(f"needs the {role}'s classifier: pass example=inputs of two examples, or {how}")
    given: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: given.__setitem__(name, output)

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items() if _may_be(layer)]
    try:
        logits = trace(observed, [OUTPUT], inputs, evaluate=True).logits
    finally:
        for hook in hooks:
            hook.remove()
    found = [name for name, output in given.items() if logits is not None and _same(output, logits)]
    if not found:
        raise UsageError(f"needs the {role}'s classifier, and no linear layer is seen to give its logits: {how}")
    return layers[found[-1]]


def _may_be(layer: nn.Module) -> bool:
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(layer, nn.Embedding)


def _same(output: Any, logits: Tensor) -> bool:
    return isinstance(output, Tensor) and output.shape == logits.shape and torch.equal(output, logits)
