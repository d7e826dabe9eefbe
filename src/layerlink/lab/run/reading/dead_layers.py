"""Layers of a model that have died: they give zeros whatever they see."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from layerlink.lab.run.reading.evaluation import EVALUATION_BATCH
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps.modes import evaluating
from layerlink.taps.modules import call_model

DEAD = 0.99  # share of zeros; layers of healthy networks were seen at 0.46 to 0.74


def dead_layers(model: nn.Module, setup: Setup) -> dict[str, float]:
    """The layers that give next to nothing but zeros for a batch of validation images.

    Returns:
        The share of zeros, ``DEAD`` or more, by layer. Of layers inside each other only the outermost is named.
    """
    dead: dict[str, float] = {}

    def look(name: str) -> Any:
        # Looked at in the hook: a later layer may overwrite the value in place.
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.numel():
                zeros = float((output.detach() == 0).double().mean())
                if zeros >= DEAD:
                    dead[name] = zeros

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        with evaluating(model), setup.arithmetic():
            some = slice(0, setup.images.validation.at_once(EVALUATION_BATCH))
            call_model(model, setup.images.seen(setup.images.validation, some))
    finally:
        for handle in handles:
            handle.remove()
    return {name: zeros for name, zeros in dead.items() if not any(name.startswith(f"{outer}.") for outer in dead)}
