"""The distiller: a teacher, a student and an objective, ready for anybody's training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses import Context, Facts
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.lazy import has_lazy_layers
from layerlink.tasks import Task, as_task
from layerlink.teachers import Teacher, as_teacher, models_of
from layerlink.teachers.trained import is_trained_by
from layerlink.transfer.across import Across, EqualParts
from layerlink.transfer.inspection import parts_of
from layerlink.transfer.link import Link, Scale
from layerlink.transfer.link_list import idle_links, links_error, read_links
from layerlink.transfer.masks import as_mask, contexts_of, positions_of_output
from layerlink.transfer.objective import Losses, Objective
from layerlink.transfer.parties import (
    as_given,
    as_looked_at,
    as_taught,
    averages_among,
    check_models,
    fill_from_example,
    missing_taps,
    of_teachers,
    read_skipped,
    without_labels,
)
from layerlink.transfer.pieces import pieces_for, read_of_student, read_of_teacher
from layerlink.transfer.reminders import Reminders, check_student, check_wrapping
from layerlink.transfer.scales import LinkScales, is_scaled
from layerlink.transfer.schedule import Decay
from layerlink.transfer.timed import Hard, Soft


class Distiller(nn.Module):
    """Computes the student's losses.

    The teacher is not a submodule: it moves along with ``.to()``, but is in neither ``parameters()`` nor
    ``state_dict()``, and ``train()`` does not reach it. Only an average of the student is in both, as ``averages``: a
    training goes on with it. ``trainable_parameters()`` leaves it out.

    Args:
        teacher: a trained module, which is frozen here; a ``Teacher``; anything that gives ``Activations`` when
            called with the inputs; a mapping of two or more of these by name; or None where labels alone teach, or
            ``taught`` is passed with every batch.
        student: the module to train.
        hard: weight of the labels' loss, or ``Hard`` with its time; 0 leaves it out. A callable ``(output, target) ->
            Tensor`` is the loss itself, ``"@output[loss]"`` what the student computes of labels among its inputs.
        soft: the softened outputs' loss, or None.
        links: linked layers, as text (``"group3.1 -> group3 : mse * 40"``) or as ``Link``.
        link_scale, link_until, link_decay: ``scale``, ``until`` and ``decay`` of the links that do not say
            their own, as in ``Link``; not of links at ``@output``. For all times call ``at`` as the training goes on.
        label_smoothing: of the labels' loss, 0 <= s < 1.
        teacher_logits: the element of the teacher's output that holds the logits, such as ``"[0]"`` or
            ``"[scores]"``; not needed where the output is a tensor or has ``logits``.
        student_logits: the same of the student's output.
        teacher_head: the name of the teacher's classifier, for losses that ask for it; with ``example`` it is found.
        student_head: the same of the student.
        example: inputs of two examples. Where given, both models are run on them and links that cannot be compared are
            told now, not at the first batch. Needed where a link has an adapter or a loss with parameters, made from
            the shapes; and for outputs of language models to be compared in pieces (``Losses.logits`` is None then).
        facts: of the training, for losses that ask for them, such as the number of training examples.
        task: what outputs mean, such as ``layerlink.MultiLabel()``, or its name: it decides the labels' loss, which
            positions count and how softened outputs are compared.

    Raises:
        ProblemsError: every link that is no link, names a layer that does not exist or stands twice; with
            ``example`` also every link whose two sides do not fit.
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
        teacher: nn.Module | Teacher | Mapping[str, Any] | None,
        student: nn.Module,
        *,
        hard: float | Hard | Callable[[Any, Any], Tensor] | str = 1.0,
        soft: Soft | None = None,
        links: Iterable[str | Link] = (),
        link_scale: Scale = "none",
        link_until: float | None = None,
        link_decay: Decay = "none",
        label_smoothing: float = 0.0,
        teacher_logits: str = "",
        student_logits: str = "",
        teacher_head: str = "",
        student_head: str = "",
        example: Any = None,
        facts: Facts | None = None,
        task: Task | str = "classification",
    ) -> None:
        super().__init__()
        self.student = student
        teacher = as_given(teacher)
        names = tuple(teacher) if isinstance(teacher, Mapping) else ()
        links = links if isinstance(links, str) or not isinstance(links, Iterable) else list(links)
        readable, problems = read_links(links, names)
        shared = check_models(models_of(teacher), student)
        if has_lazy_layers(student):
            fill_from_example(student, example)
        self.observed = Observed(student, "student", output=student_logits, head=student_head)
        self._always = (OUTPUT,) if student_logits else ()  # who names the output has it
        asked = as_looked_at(teacher, teacher_logits, teacher_head)
        problems += missing_taps(readable, asked, self.observed)
        if problems:
            raise links_error(links, problems)
        defaults = {"scale": link_scale, "until": link_until, "decay": link_decay}
        every_link = tuple(link.filled(**defaults) for link in readable.values())
        parts = parts_of(every_link, asked, self.observed, example, facts or Facts())
        self.parts = nn.ModuleDict({str(index): part for index, part in enumerate(parts)})
        check_wrapping(student, self.parts)
        by_text = {link.text: part for link, part in zip(every_link, parts, strict=True)}
        self.task = as_task(task)
        if lacking := list(without_labels(dict(zip(readable, parts, strict=True)), self.task)):
            raise links_error(links, lacking)
        soft = of_teachers(soft, names) if isinstance(soft, Soft) else soft
        self.whole_objective = Objective(hard, soft, every_link, label_smoothing, by_text, task=self.task)
        self.objective = self.whole_objective  # at this time of the training, see ``at``
        _ = self.objective.terms  # made now: inside a compiled pass they cannot be
        self.teacher = as_teacher(teacher, output=teacher_logits, shared=shared, head=teacher_head)
        self.averages = nn.ModuleList(averages_among(self.teacher, student))  # a submodule: checkpoints go on with them
        is_trained_by(self, student)
        self.scales = LinkScales(every_link) if any(map(is_scaled, every_link)) else None
        self._by_gradient = any(link.scale == "gradient" for link in every_link)
        if self._by_gradient and not self.objective.labels.weight and not (soft and soft.weight):
            raise UsageError("scale=gradient compares with the gradient of the labels: give hard or soft a weight > 0")
        seen = None if self._always or self._by_gradient else example
        self.pieces = pieces_for(self.whole_objective.terms, self.task, self.observed, self.teacher, seen)
        self._progress: float | None = None  # until ``at`` is told
        self._remind = Reminders(self.whole_objective)

    def at(self, epoch: float, epochs: float) -> None:
        """Set the time of the training, by which terms begin, rise, fade and end.

        Args:
            epoch: since the start, in epochs, fractions included.
            epochs: of the whole training.
        """
        self.objective = self.whole_objective.at(epoch, epochs)
        self._progress = min(epoch / epochs, 1.0) if epochs else 0.0

    def after_step(self) -> None:
        """Tell teachers that follow the student, such as ``EMATeacher``, that the optimiser has made a step."""
        self._remind.stepped = True
        for teacher in averages_among(self.teacher):
            teacher.after_step(self.student)

    def share_with(self, across: Across | None = None) -> None:
        """Let several processes have a part of every batch each, in a loop of one's own.

        Losses between images then compare the whole batch's, masked ones count by what their masks keep, and links are
        scaled by the whole batch. Gradients are the whole batch's where the processes' are averaged and their parts are
        equal, as ``DistributedDataParallel`` does. Every process must call the distiller as often, with activations of
        the same shapes and the same layers: a layer that is skipped at random goes with no such link.

        Args:
            across: the processes; None for all of ``torch.distributed``, with as many examples each.

        Raises:
            UsageError: where there are none.
        """
        across = EqualParts(self.whole_objective.parts.values()) if across is None else across
        self.compare_whole()
        for part in self.objective.parts.values():
            part.across = across
        time = self.objective.time
        self.whole_objective = replace(self.whole_objective, across=across)
        self.objective = replace(self.objective, across=across) if time is not None else self.whole_objective
        if self.scales is not None:
            self.scales.parts = across
        self.observed.never_repeat()
        self._remind.shared = True

    @property
    def wanted(self) -> tuple[Tap, ...]:
        """What the terms read of the teacher at this time of the training; nothing where none does."""
        return read_of_teacher(self.pieces, self.objective.of_teacher)

    def compare_whole(self) -> None:
        """Compare outputs whole, also where that could be done in pieces."""
        self.pieces = None

    def forward(
        self,
        inputs: Any,
        target: Any = None,
        *,
        indices: Tensor | None = None,
        mask: Tensor | None = None,
        taught: Activations | Tensor | None = None,
        studied: Activations | None = None,
        views: int | None = None,
    ) -> Losses:
        """The losses of one batch.

        Args:
            inputs: what both models take: a tensor, a tuple (positional) or a mapping (keyword arguments).
            target: as the task has it: (N,) int64 labels or (N, C) probabilities in classification; may be None where
                hard is 0 or the student's own.
            indices: (N,) int64, which examples of the data set these are; for stored teachers and losses that remember.
            mask: (N,), (N, L) or (N, H, W), true or 1 where a position counts; for all links, together with their
                ``where``, and for labels and softened outputs that have such positions.
            taught: the teacher's activations for this batch, or its output alone, where they are known already; the
                teacher is not run then.
            studied: what ``study`` gave for this batch, where it was called already; the student is not run then.
            views: how many views of each image the batch holds, one of all after the other, for losses that compare
                them.

        Raises:
            ProblemsError: every link that cannot be compared: shapes, a layer that does not run.
            UsageError: where labels or logits are missing or do not fit, or a link with a weight teaches nothing.

        Warns once where the student learns (gradients are on) in eval mode, or a term has a time and nobody told it.
        """
        if taught is None and self.wanted:
            if self.teacher is None:
                raise UsageError("soft and link losses need a teacher; got None, and no taught= of this batch")
            taught = self.teacher(inputs, self.wanted, indices=indices)
        taught = as_taught(taught, self.wanted)
        student = self.study(inputs) if studied is None else studied
        cut = None if self.pieces is None else self.pieces.cut(student, taught)
        if cut is not None:
            student, taught = cut.student, cut.taught
        mask = None if mask is None else as_mask(mask, "mask")
        context = Context(labels=target, indices=indices, mask=mask, progress=self._progress, views=views)
        if self.scales is not None and taught is not None:
            self.scales.by_teacher(taught)
        of_outputs = positions_of_output(self.task, self.objective.links, student, target)
        contexts = contexts_of(self.objective.links, self.objective.parts, inputs, context, taught, of_outputs)
        losses = self.objective(student, taught, context, self.factors, contexts, cut)
        if torch.is_grad_enabled():
            self._remind(self.student, self._progress, followed=bool(self.averages), masked=mask is not None)
            if idle := list(idle_links(self.objective.links, losses.terms, student)):
                raise links_error(self.objective.links, idle)
            if self.scales is not None and self.scales.by_gradient(losses, student):
                losses = self.objective.weigh(losses, self.factors)
        return losses

    @property
    def factors(self) -> dict[str, float | Tensor]:
        """What links are scaled by now, by their text."""
        return self.scales.now if self.scales is not None else {}

    def study(self, inputs: Any, also: Iterable[Tap] = ()) -> Activations:
        """The student's logits and tapped activations for ``inputs``, with their graph.

        Two students that teach each other need one pass each (mutual learning):

            of_a, of_b = a.study(x, also=b.wanted), b.study(x, also=a.wanted)
            losses_a = a(x, y, studied=of_a, taught=of_b.detached())
            losses_b = b(x, y, studied=of_b, taught=of_a.detached())

        Args:
            inputs: as in a call.
            also: taps that somebody else asks for.
        """
        wanted = read_of_student(self.pieces, (*self.objective.of_student, *self._always), also)
        stop = self.pieces is not None and OUTPUT not in wanted
        check_student(self.student, self.observed.model)
        # A compiled pass has no places inside of it that gradients could be asked for.
        edges = self.scales is not None and (self.observed.programs is None or self.scales.may_measure)
        given = self.observed.read(inputs, wanted, edges=self._by_gradient and edges, glance=not stop, stop_early=stop)
        read_skipped(self.observed, inputs, wanted, given)
        return given

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser trains: the student's parameters, and those of links where they have any."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def link_parameters(self) -> Iterator[nn.Parameter]:
        """Of these the links' own: of adapters and of losses that are trained."""
        return (parameter for parameter in self.parts.parameters() if parameter.requires_grad)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Distiller:
        # `.to()`, `.cuda()`, `.half()` all come through here.
        for model in self.teacher.models() if self.teacher is not None else ():
            model._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self
