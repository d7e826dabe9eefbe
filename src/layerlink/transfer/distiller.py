"""The distiller: a teacher, a student and an objective, ready for anybody's training loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.taps.recorder import Recorder
from layerlink.taps.tap import Tap, find_module, no_such_layer
from layerlink.teachers.teacher import LiveTeacher, Teacher, logits_of
from layerlink.transfer.link import Decay, Link, Scale, links_error, read_links
from layerlink.transfer.objective import Activations, Losses, Objective, Soft
from layerlink.transfer.scales import LinkScales


class Distiller(nn.Module):
    """Computes the student's losses.

    The teacher is not a submodule: it moves along with ``.to()``, but is in neither ``parameters()`` nor
    ``state_dict()``, and ``train()`` does not reach it.

    Args:
        teacher: a trained module, which is frozen here; anything that gives ``Activations`` when called with
            the inputs; or None where labels alone teach.
        student: the module to train.
        hard: weight of the labels' loss; 0 leaves it out.
        soft: the softened outputs' loss, or None.
        links: linked layers, as text (``"group3.1 -> group3 : mse * 40"``) or as ``Link``.
        link_scale, link_until, link_decay: ``scale``, ``until`` and ``decay`` of the links that do not say
            their own, as in ``Link``. For ``until`` and ``decay`` call ``at`` as the training goes on.
        label_smoothing: of the labels' loss, 0 <= s < 1.
        teacher_logits: the element of the teacher's output that holds the logits, such as ``"[0]"`` or
            ``"[scores]"``; not needed where the output is a tensor or has ``logits``.
        student_logits: the same of the student's output.

    Raises:
        ProblemsError: every link that is no link, names a layer that does not exist or stands twice.
        UsageError: for impossible values, or soft and links without a teacher.

    >>> import torch
    >>> teacher, student = (torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()) for _ in range(2))
    >>> distiller = Distiller(teacher, student, soft=Soft(temperature=4), links=["0 : mse * 2"])
    >>> losses = distiller(torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64))
    >>> list(losses.terms)
    ['hard', 'soft', '0 : mse * 2']
    """

    def __init__(
        self,
        teacher: nn.Module | Teacher | None,
        student: nn.Module,
        *,
        hard: float = 1.0,
        soft: Soft | None = None,
        links: Iterable[str | Link] = (),
        link_scale: Scale = "none",
        link_until: float | None = None,
        link_decay: Decay = "none",
        label_smoothing: float = 0.0,
        teacher_logits: str = "",
        student_logits: str = "",
    ) -> None:
        super().__init__()
        self.student = student
        readable, problems = read_links(links)
        links = list(links)
        _check_models(teacher, student)
        for index, link in readable.items():
            problems += [(index, reason) for reason in _missing_layers(link, teacher, student)]
        if problems:
            raise links_error(links, problems)
        defaults = {"scale": link_scale, "until": link_until, "decay": link_decay}
        every_link = tuple(link.filled(**defaults) for link in readable.values())
        self.whole_objective = Objective(hard, soft, every_link, label_smoothing)
        self.objective = self.whole_objective  # at this time of the training, see ``at``
        if self.objective.needs_teacher and teacher is None:
            raise UsageError("soft and link losses need a teacher; got None")
        if isinstance(teacher, nn.Module):
            teacher = LiveTeacher(
                teacher,
                [link.teacher for link in self.objective.links],
                logits=soft is not None,
                element=_element(teacher_logits),
            )
        self.teacher = teacher
        self._student_element = _element(student_logits)
        self.scales = LinkScales(every_link) if any(link.scale != "none" for link in every_link) else None
        by_gradient = any(link.scale == "gradient" for link in every_link)
        if by_gradient and not hard and not (soft and soft.weight):
            raise UsageError("scale=gradient compares with the gradient of the labels: give hard or soft a weight > 0")
        self._told_of_mode = False
        self._recorder = Recorder(student, [link.student for link in every_link], "student", edges=by_gradient)

    def at(self, epoch: float, epochs: float) -> None:
        """Set the time of the training, which ``until`` and ``decay`` of links go by.

        Args:
            epoch: since the start, in epochs, fractions included.
            epochs: of the whole training.
        """
        self.objective = self.whole_objective.at(epoch, epochs)

    def forward(self, inputs: Any, target: Tensor | None = None, *, taught: Activations | None = None) -> Losses:
        """The losses of one batch.

        Args:
            inputs: what both models take: a tensor, a tuple (positional) or a mapping (keyword arguments).
            target: (N,) int64 labels or (N, C) probabilities; may be None where hard is 0.
            taught: the teacher's activations for this batch, where they are known already; the teacher is not
                run then.

        Raises:
            ProblemsError: every link that cannot be compared: shapes, a layer that does not run.
            UsageError: where labels or logits are missing or do not fit, or a link with a weight teaches nothing.

        Warns once where the student learns (gradients are on) in eval mode.
        """
        if taught is None and self.teacher is not None and self.objective.needs_teacher:
            taught = self.teacher(inputs)
        student = self.study(inputs)
        if self.scales is not None and taught is not None:
            self.scales.by_teacher(taught)
        losses = self.objective(student, taught, target, self._factors())
        if torch.is_grad_enabled():
            self._check_mode()
            self._check_gradients(losses)
            if self.scales is not None and self.scales.by_gradient(losses, student):
                losses = self.objective.weigh(losses.terms, losses.logits, self._factors())
        return losses

    def _factors(self) -> dict[str, float]:
        return self.scales.now if self.scales is not None else {}

    def _check_mode(self) -> None:
        """A student that is left in eval mode learns without dropout, and its batch norm learns no statistics."""
        if not (self.student.training or self._told_of_mode):
            self._told_of_mode = True
            warnings.warn(
                "the student learns in eval mode: dropout is off and batch norm keeps its old statistics. Call "
                "distiller.train() before the epoch; where losses are only looked at, use torch.no_grad()",
                stacklevel=5,  # past torch's own two frames, to the line of the loop
            )

    def _check_gradients(self, losses: Losses) -> None:
        """Every link with a weight must teach: its term must depend on something that is trained."""
        idle = [
            (
                index,
                f"teaches nothing: no gradient reaches the student's layer {str(link.student)!r}. It is frozen, "
                "an input, or computed under no_grad",
            )
            for index, link in enumerate(self.objective.links)
            if link.weight and not losses.terms[link.text].requires_grad
        ]
        if idle:
            raise links_error(self.objective.links, idle)

    def study(self, inputs: Any) -> Activations:
        """The student's logits and tapped activations for ``inputs``."""
        recording = self._recorder.record(inputs)
        logits = None
        if self.objective.hard or self.objective.soft or self._student_element:
            logits = logits_of(recording, self._student_element, "student")
        elif isinstance(recording.output, Tensor):
            logits = recording.output.detach()  # nothing asked for them: nobody is to wait for their gradient
        return Activations(logits, recording.values, recording.problems, recording.edges)

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser trains: the student's parameters, and those of links where they have any."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Distiller:
        # `.to()`, `.cuda()`, `.half()` all come through here.
        if isinstance(self.teacher, LiveTeacher):
            self.teacher.model._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def _check_models(teacher: Any, student: Any) -> None:
    if not isinstance(student, nn.Module):
        raise UsageError(f"the student must be a torch.nn.Module; got {type(student).__name__}")
    if teacher is not None and not callable(teacher):
        raise UsageError(f"the teacher must be a torch.nn.Module or give Activations; got {type(teacher).__name__}")
    model = teacher.model if isinstance(teacher, LiveTeacher) else teacher
    if isinstance(model, nn.Module):
        frozen = {id(parameter) for parameter in model.parameters()}
        shared = [name for name, parameter in student.named_parameters() if id(parameter) in frozen]
        if shared:
            raise UsageError(
                f"teacher and student share {len(shared)} parameters, such as {shared[0]}; freezing the teacher would "
                "freeze them in the student. Pass copy.deepcopy(model) as the teacher"
            )


def _missing_layers(link: Link, teacher: Any, student: nn.Module) -> Iterator[str]:
    for model, tap, role in ((teacher, link.teacher, "teacher"), (student, link.student, "student")):
        module = model.model if isinstance(model, LiveTeacher) else model
        if isinstance(module, nn.Module) and find_module(module, tap.module) is None:
            yield no_such_layer(module, tap.module, role)


def _element(text: str) -> tuple[str, ...]:
    """``"[scores][0]"`` or plain ``scores`` as keys."""
    if text and not text.startswith("["):
        text = f"[{text}]"
    return Tap.parse(f"output{text}").element
