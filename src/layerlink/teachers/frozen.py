"""The frozen teacher: a trained model that is run on every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.errors import UsageError
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.in_place import snapshot
from layerlink.taps.modes import set_mode
from layerlink.taps.observed import Arithmetic
from layerlink.teachers.peer import PeerTeacher
from layerlink.teachers.several import SeveralTeachers
from layerlink.teachers.teacher import CalledTeacher, Teacher, is_teacher
from layerlink.teachers.topk import TopK
from layerlink.teachers.trained import trained_elsewhere


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
        head: the name of its classifier, as in ``Observed``.

    Raises:
        UsageError: where another distiller, which is still there, trains the model.
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
        if trained := trained_elsewhere(model):
            raise UsageError(
                f"the teacher's {trained} is trained by another distiller, and freezing it would end that. Pass "
                "copy.deepcopy(model) for a teacher that stays as it is now, layerlink.teachers.PeerTeacher(model) for "
                "one that goes on learning, or call model.requires_grad_(False) where its training is over"
            )
        for parameter in model.parameters():  # scripted modules have no requires_grad_ of their own
            parameter.requires_grad_(False)
        set_mode(model, training=False)
        self._fixed = model.training  # in its mode, as exported modules are
        self.observed = Observed(model, "teacher", output=output, arithmetic=arithmetic, view=view, head=head)
        self._seen_whole: set[Tap] = set()

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
        """
        if not self._fixed and any(module.training for module in self.model.modules()):
            set_mode(self.model, training=False)
        asked = tuple(wanted)
        packed = {tap: how for tap in asked if (how := TopK.of(tap)) is not None}
        taps = tuple(dict.fromkeys(OUTPUT if tap in packed else tap for tap in asked))
        # A model may work in place on what it gets, now and then; a view is a copy already.
        given = inputs if self.observed.view is not None else tree_map_only(Tensor, snapshot, inputs)
        activations = self.observed.read(given, taps, stop_early=self._seen_whole.issuperset(taps))
        self._seen_whole.update(taps)
        if OUTPUT in activations.problems:
            raise UsageError(activations.problems[OUTPUT])
        for tap, how in packed.items():
            activations.values[tap] = how.pack(activations.values[OUTPUT])
        if packed and OUTPUT not in asked:
            del activations.values[OUTPUT]
        return activations


def as_teacher(given: Any, *, output: str = "", shared: bool = False, head: str = "") -> Teacher | None:
    """What a user gave, as a teacher: a module is frozen, a callable asked for what it has, a mapping is several.

    Args:
        given: checked by ``models_of``; None stays None.
        output: of a module, as in ``Observed``.
        shared: whether the student has parameters of the module; they are frozen already, and its mode is the
            student's.
        head: of a module, as in ``Observed``.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        asked = {name: as_teacher(teacher, output=output, shared=shared, head=head) for name, teacher in given.items()}
        return SeveralTeachers({name: teacher for name, teacher in asked.items() if teacher is not None})
    if isinstance(given, nn.Module) and not is_teacher(given):
        kind = PeerTeacher if shared else FrozenTeacher
        return kind(given, output=output, head=head)
    if shared and isinstance(given, FrozenTeacher):
        seen = given.observed
        return PeerTeacher(
            seen.model,
            output="".join(f"[{key}]" for key in seen.output),
            arithmetic=seen.arithmetic,
            view=seen.view,
            head=seen.head,
        )
    teacher: Teacher = given if is_teacher(given) else CalledTeacher(given, output)
    return teacher
