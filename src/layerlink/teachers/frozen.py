"""The frozen teacher: a trained model that is run on every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from layerlink.errors import LayerlinkError, UsageError
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.in_place import overwritten_since, snapshot, version_of
from layerlink.taps.observed import Arithmetic
from layerlink.teachers.teacher import CalledTeacher, Teacher, is_teacher


class FrozenTeacher:
    """A trained model, frozen.

    Its parameters stop requiring gradients, it is put into eval mode, and it is kept there: a later
    ``model.train()`` is undone at the next batch. The first batch that asks for a tap is run to the end, to see whether
    every layer runs as often as the taps say; after that nothing above the deepest tap is computed unless the
    output is wanted.

    Args:
        model: the trained model. It is changed only as said above.
        output: where in the model's output the logits are, as in ``Observed``.
        arithmetic: makes the context to run in; by default that of the caller.
        view: what the model sees of the inputs; by default they themselves.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        output: str = "",
        arithmetic: Arithmetic = nullcontext,
        view: Callable[[Any], Any] | None = None,
    ) -> None:
        frozen = model.requires_grad_(False).eval()
        self.observed = Observed(frozen, "teacher", output=output, arithmetic=arithmetic, view=view)
        self._seen_whole: set[Tap] = set()
        self._changes_inputs: bool | None = None  # not known before the first pass

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.observed.model

    def models(self) -> tuple[nn.Module, ...]:
        """The one model."""
        return (self.observed.model,)

    @torch.no_grad()
    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted of the model for ``inputs``.

        Raises:
            UsageError: where the output is wanted and its logits are not there.
            LayerlinkError: where the model changed something in place that it never changed before.
        """
        if any(module.training for module in self.model.modules()):
            self.model.eval()
        taps = tuple(wanted)
        given = self._own_copy(inputs)
        versions = [(item, version_of(item)) for item in tree_leaves(given) if isinstance(item, Tensor)]
        activations = self.observed.read(given, taps, stop_early=self._seen_whole.issuperset(taps))
        self._check_inputs(any(overwritten_since(tensor, version) for tensor, version in versions))
        self._seen_whole.update(taps)
        if OUTPUT in activations.problems:
            raise UsageError(activations.problems[OUTPUT])
        return activations

    def _own_copy(self, inputs: Any) -> Any:
        """The inputs, copied unless a pass has shown that the model leaves them as they are."""
        return inputs if self._changes_inputs is False else tree_map_only(Tensor, snapshot, inputs)

    def _check_inputs(self, changed: bool) -> None:
        if changed and self._changes_inputs is False:
            self._changes_inputs = True
            raise LayerlinkError(
                "the teacher changed its inputs in place in this pass, though in none before, and the student would "
                "see the changed ones. Load the batch again: from now on the teacher gets a copy"
            )
        self._changes_inputs = changed


def as_teacher(given: Any, *, output: str = "") -> Teacher | None:
    """What a user gave, as a teacher: a module is frozen, a callable asked for what it has.

    Args:
        given: checked by ``models_of``; None stays None.
        output: of a module, as in ``Observed``.
    """
    if given is None:
        return None
    if isinstance(given, nn.Module):
        return FrozenTeacher(given, output=output)
    teacher: Teacher = given if is_teacher(given) else CalledTeacher(given)
    return teacher
