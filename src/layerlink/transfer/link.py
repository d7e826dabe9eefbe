"""Links: teacher taps -> student taps, with a loss and a weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from torch import nn

from layerlink.errors import UsageError, unknown_name
from layerlink.losses import LOSSES, LossKind, loss_kind
from layerlink.taps import OUTPUT, Tap
from layerlink.transfer.link_text import digits, literal, parse_call, parse_link
from layerlink.transfer.schedule import Decay, Schedule, is_number, said

Scale = Literal["none", "teacher", "gradient"]
Taps = Tap | tuple[Tap, ...]
Loss = str | LossKind | Callable[..., Any] | nn.Module


@dataclass(frozen=True)
class Link:
    """Linked layers: one tap a side, or as many as the loss compares at once.

    Args:
        teacher: where the teacher is read: a tap, its text, or several in a tuple.
        student: where the student is read, as many.
        loss: a name in ``LOSSES``, ``"package.module:name"``, or a function, an ``nn.Module`` or its class.
        weight: beta >= 0, the factor in the weighted total.
        scale: what else the loss is multiplied by, see ``LinkScales``: "none"; "teacher", a power of the spread of the
            teacher's activation; "gradient", so that ``weight`` is the ratio of the link's gradient to that of the
            labels. None: what is set for all links.
        until: the link ends after so many epochs, > 0. None: what is set for all links, or never.
        decay: "linear" lets the weight fall to 0 at the end of the link, or of the training; "none" keeps it.
            None: what is set for all links.
        text: the link as the user wrote it; it names the link's term. Made from the rest where empty.
        options: of the loss, by name; those of a name may stand behind it, ``"kd(temperature=2)"``.
        adapter: how the student's activation gets the teacher's shape: "auto", a name in ``ADAPTERS`` or one's own
            ``package.module:name``, with its options, such as ``"conv1x1(norm=True)"``; or the callable itself, of both
            shapes, or a module that is made. None: not at all.
        start: the link begins after so many epochs.
        warmup: its weight rises from 0 for so many epochs.
        where: the element of the student's inputs that says which positions count, such as ``"attention_mask"``, or
            ``"not key_padding_mask"`` where true means "ignore".
        teacher_where: the same of the teacher's inputs, where its mask is another one.
        which: the teacher's name, where there are several.

    Raises:
        UsageError: for an unknown loss, or an impossible weight or option.
    """

    teacher: Taps
    student: Taps
    loss: Loss = "mse"
    weight: float = 1.0
    scale: Scale | None = None
    until: float | None = None
    decay: Decay | None = None
    text: str = field(default="", compare=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | Callable[..., nn.Module] | None = None
    start: float = 0.0
    warmup: float = 0.0
    where: str = ""
    teacher_where: str = ""
    which: str = ""

    def __post_init__(self) -> None:
        for side in ("teacher", "student"):
            object.__setattr__(self, side, _taps(side, getattr(self, side)))
        if isinstance(self.loss, str) and "(" in self.loss:
            name, options = parse_call(self.loss, "loss")
            object.__setattr__(self, "loss", name)
            object.__setattr__(self, "options", {**options, **self.options})
        _check_loss(self.loss, self.options)
        if not (is_number(self.weight) and self.weight >= 0):
            raise UsageError(f"a link's weight must be a finite number >= 0; got {said(self.weight)}")
        if self.scale not in (None, *get_args(Scale)):
            raise UsageError(unknown_name("scale", str(self.scale), get_args(Scale)))
        self.schedule.check("a link's ")
        if not self.text:
            object.__setattr__(self, "text", self._text())

    @property
    def teacher_taps(self) -> tuple[Tap, ...]:
        """What is read of the teacher, of the one that ``which`` names."""
        taps = self._as_written
        return tuple(replace(tap, of=self.which) for tap in taps) if self.which else taps

    @property
    def _as_written(self) -> tuple[Tap, ...]:
        return self.teacher if isinstance(self.teacher, tuple) else (self.teacher,)

    @property
    def student_taps(self) -> tuple[Tap, ...]:
        """What is read of the student."""
        return self.student if isinstance(self.student, tuple) else (self.student,)

    @property
    def at_output(self) -> bool:
        """Whether it links outputs and nothing else."""
        return {*self._as_written, *self.student_taps} == {OUTPUT}

    @property
    def schedule(self) -> Schedule:
        """From when until when it counts."""
        return Schedule(self.start, self.until, self.warmup, self.decay or "none")

    def _text(self) -> str:
        return f"{self.taps_text} : {self.loss_text}{self._weight_text()}{self._options_text()}"

    @property
    def taps_text(self) -> str:
        """What is linked, as it is written."""
        which = f"{self.which}/" if self.which else ""
        teacher, student = (" + ".join(map(str, taps)) for taps in (self._as_written, self.student_taps))
        return f"{which}{teacher}" if teacher == student else f"{which}{teacher} -> {student}"

    @property
    def loss_text(self) -> str:
        """The loss with its options, as it is written."""
        name = self.loss if isinstance(self.loss, str) else _name_of(self.loss)
        given = ", ".join(f"{option}={literal(value)}" for option, value in self.options.items())
        return f"{name}({given})" if given else name

    def _weight_text(self) -> str:
        return "" if self.weight == 1 else f" * {digits(self.weight)}"

    def _options_text(self) -> str:
        given = {
            **{name: getattr(self, name) for name in ("scale", "until", "decay")},
            "adapter": self.adapter
            if self.adapter is None or isinstance(self.adapter, str)
            else _name_of(self.adapter),
            "from": self.start or None,
            "warmup": self.warmup or None,
            **{name: getattr(self, name) or None for name in ("where", "teacher_where")},
        }
        return "".join(
            f", {name}={digits(value) if isinstance(value, int | float) else value}"
            for name, value in given.items()
            if value is not None
        )

    def filled(self, **defaults: Any) -> Link:
        """The link with ``scale``, ``until`` and ``decay`` from ``defaults`` where it leaves them open.

        A link of outputs is as it says itself: defaults are for layers.
        """
        if self.at_output:
            return self
        given = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(self, **given)

    def weight_at(self, epoch: float, epochs: float) -> float | None:
        """The weight at a time; None where the link has not begun or is over.

        Args:
            epoch: since the start of the training, in epochs, fractions included.
            epochs: of the whole training.
        """
        return self.schedule.weight_at(self.weight, epoch, epochs)

    @classmethod
    def parse(cls, text: str) -> Link:
        """The link that ``text`` describes: ``TEACHER -> STUDENT : LOSS * WEIGHT``.

        One name stands for both where they are the same; a weight of 1 may be left out. Several taps of a side stand
        beside each other with ``+``; options of the loss in brackets, those of the link after a comma:
        ``group3 : kd(temperature=2) * 0.5, scale=gradient, until=3``.

        Raises:
            UsageError: where the text has not that form.

        >>> link = Link.parse("group3.1 -> group3 : mse * 40")
        >>> link.teacher.module, link.student.module, link.loss, link.weight
        ('group3.1', 'group3', 'mse', 40.0)
        """
        parts = parse_link(text)
        options = dict(parts.options)
        if "from" in options:
            options["start"] = options.pop("from")
        if "adapter" in options:
            parse_call(options["adapter"], "adapter")
        return cls(
            _one_or_all(parts.teacher),
            _one_or_all(parts.student),
            parts.loss,
            parts.weight,
            text=text.strip(),
            options=parts.loss_options,
            which=parts.which,
            **options,
        )

    def __str__(self) -> str:
        return self.text


def _taps(side: str, given: Any) -> Taps:
    """A tap, or as many as are given; texts are read.

    Raises:
        UsageError: where it is something else.
    """
    if isinstance(given, tuple | list):
        return _one_or_all(tuple(_tap(side, tap) for tap in given))
    return _tap(side, given)


def _tap(side: str, given: Any) -> Tap:
    if not isinstance(given, Tap | str):
        raise UsageError(f"a link's {side} is a layer's name, or several in a tuple; got {type(given).__name__}")
    return Tap.parse(given) if isinstance(given, str) else given


def _one_or_all(taps: tuple[Tap, ...]) -> Taps:
    return taps[0] if len(taps) == 1 else taps


def _name_of(loss: Any) -> str:
    make = loss.make if isinstance(loss, LossKind) else loss
    return str(getattr(make, "__name__", type(make).__name__))


def _check_loss(loss: Loss, options: Mapping[str, Any]) -> None:
    """What can be told without importing what a text names."""
    if isinstance(loss, str) and ":" in loss:
        return
    if isinstance(loss, str) and loss not in LOSSES:
        raise UsageError(unknown_name("loss", loss, LOSSES))
    problems = loss_kind(loss).problems(options)
    if problems:
        raise UsageError(" ".join(problems))


def user_code(links: Iterable[str | Link]) -> list[str]:
    """The losses and adapters that links name by ``package.module:name``: code that is imported when they are built."""
    found = [link if isinstance(link, Link) else Link.parse(link) for link in links]
    named = [link.loss for link in found if isinstance(link.loss, str)]
    named += [parse_call(link.adapter, "adapter")[0] for link in found if isinstance(link.adapter, str)]
    return list(dict.fromkeys(path for path in named if ":" in path))
