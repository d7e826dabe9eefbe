"""Teachers: whatever gives logits and tapped activations for a batch, without gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from layerlink.errors import LayerlinkError, UsageError
from layerlink.taps.recorder import Recorder, Recording
from layerlink.taps.tap import ElementError, Tap, overwritten_since, pick, snapshot, version_of
from layerlink.transfer.objective import Activations


class Teacher(Protocol):
    """What the distiller asks of a teacher."""

    def __call__(self, inputs: Any) -> Activations:
        """The teacher's logits and tapped activations for ``inputs``."""
        ...


class LiveTeacher:
    """A frozen model that is run on every batch.

    Its parameters stop requiring gradients, it is put into eval mode, and it is kept there: a later
    ``model.train()`` is undone at the next batch. The first batch is run to the end, to see whether every layer
    runs as often as the taps say; after that nothing above the deepest tap is computed unless the logits are
    needed.

    Args:
        model: the trained model. It is changed only as said above.
        taps: what to read.
        logits: whether the logits are needed.
        element: where in the model's output the logits are, as in ``Tap.element``.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Iterable[Tap] = (),
        *,
        logits: bool = True,
        element: tuple[str, ...] = (),
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.recorder = Recorder(model, taps, "teacher")
        self.logits = logits
        self.element = element
        self._seen_whole = False
        self._changes_inputs: bool | None = None  # not known before the first pass

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Activations:
        """Logits (where needed) and tapped activations for ``inputs``."""
        if any(module.training for module in self.model.modules()):
            self.model.eval()
        given = self._own_copy(inputs)
        versions = [(item, version_of(item)) for item in tree_leaves(given) if isinstance(item, Tensor)]
        recording = self.recorder.record(given, stop_early=self._seen_whole and not self.logits)
        self._check_inputs(any(overwritten_since(tensor, version) for tensor, version in versions))
        self._seen_whole = True
        logits = logits_of(recording, self.element, "teacher") if self.logits else None
        return Activations(logits, recording.values, recording.problems)

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


def logits_of(recording: Recording, element: tuple[str, ...], role: str) -> Tensor:
    """The logits in what a model returned: the tensor itself, its ``logits``, or the named element.

    Raises:
        UsageError: where they are not there; the message lists what is.
    """
    output = recording.output
    try:
        if not element and not isinstance(output, Tensor):
            try:
                return pick(output, ("logits",), "output")
            except ElementError:
                return pick(output, (), "output")
        return pick(output, element, "output")
    except ElementError as error:
        raise UsageError(f"the {role}'s {error}: {role}_logits='[NAME]'") from None
