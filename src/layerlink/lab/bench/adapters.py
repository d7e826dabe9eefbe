"""The adapters of a recipe's links, to be timed alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from layerlink.data import Batch
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps import trace


def adapter_passes(setup: Setup, batch: Batch) -> dict[str, Callable[[], None]]:
    """Forward and backward pass of every link's adapters over a batch, by the link's text, of those that are trained.

    They leave gradients behind.

    Args:
        setup: what to measure.
        batch: whose activations they get.
    """
    objective = setup.distiller.whole_objective
    links = [link for link in objective.links if any(True for _ in objective.parts[link.text].adapters.parameters())]
    taps = list(dict.fromkeys(tap for link in links for tap in link.student_taps))
    if not taps:
        return {}
    given = trace(setup.student, taps, batch.images).values

    def work(adapters: nn.ModuleList, inputs: list[Tensor]) -> None:
        with setup.arithmetic():
            outputs = [adapter(value) for adapter, value in zip(adapters, inputs, strict=True)]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])

    return {
        link.text: partial(
            work,
            objective.parts[link.text].adapters,
            [given[tap].detach().requires_grad_() for tap in link.student_taps],
        )
        for link in links
    }
