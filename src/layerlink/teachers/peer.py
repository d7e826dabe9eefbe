"""A teacher that goes on learning elsewhere: a peer, or a base that the student's adapters extend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.errors import UsageError
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.in_place import snapshot
from layerlink.taps.modes import evaluating
from layerlink.taps.observed import Arithmetic


class PeerTeacher:
    """A module that teaches as it is at every batch, in evaluation mode and without gradients.

    It is not frozen, and its mode is put back after every pass: somebody else may train it. Two that teach each other
    are mutual learning (Zhang et al. 2018, arXiv 1706.00384):

        first = Distiller(PeerTeacher(b), a, soft=Soft(1.0))
        second = Distiller(PeerTeacher(a), b, soft=Soft(1.0))

    Args:
        model: any module.
        output: where in its output the logits are, as in ``Observed``.
        arithmetic: makes the context to run in; by default that of the caller.
        view: what it sees of the inputs; by default they themselves.
        head: the name of its classifier, as in ``Observed``.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        output: str = "",
        arithmetic: Arithmetic = nullcontext,
        view: Callable[[Any], Any] | None = None,
        head: str = "",
    ) -> None:
        self.observed = Observed(model, "teacher", output=output, arithmetic=arithmetic, view=view, head=head)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.observed.model

    def models(self) -> tuple[nn.Module, ...]:
        """The one model."""
        return (self.observed.model,)

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted of the model for ``inputs``.

        Raises:
            UsageError: where the output is wanted and its logits are not there.
        """
        with evaluating(self.model), torch.no_grad():
            given = self.observed.read(tree_map_only(Tensor, snapshot, inputs), wanted)
        if OUTPUT in given.problems:
            raise UsageError(given.problems[OUTPUT])
        return given
