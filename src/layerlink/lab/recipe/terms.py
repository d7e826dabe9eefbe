"""The terms of the objective in a recipe: labels, softened outputs, links."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from layerlink.errors import UsageError
from layerlink.lab.recipe.section import Section, Whole, YesNo
from layerlink.transfer import Hard, Link, Soft
from layerlink.transfer.schedule import Decay
from layerlink.transfer.timed import HIGHEST_T, LOWEST_T


class TimedSection(Section):
    """A term of the objective and its time."""

    start: float = Field(0.0, ge=0, alias="from", description="the term begins after so many epochs")
    until: float | None = Field(None, gt=0, description="it ends after so many epochs; None: with the training")
    warmup: float = Field(0.0, ge=0, description="its weight rises from 0 for so many epochs")
    decay: Decay = Field("none", description="linear: its weight falls to 0 at its end")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> TimedSection:
        if self.until is not None and self.until <= self.start:
            raise ValueError(f"until ({self.until:g}) must be later than from ({self.start:g})")
        return self

    @property
    def time(self) -> dict[str, Any]:
        """As ``Hard`` and ``Soft`` take it."""
        return {"start": self.start, "until": self.until, "warmup": self.warmup, "decay": self.decay}


class HardSection(TimedSection):
    """The labels' loss; `hard: 1.0` is short for `hard: {weight: 1.0}`."""

    weight: float = Field(1.0, ge=0, description="what the labels' loss is multiplied by")
    loss: str | None = Field(
        None,
        description="None: the task's own. package.module:callable of (output, target); or what the student computes "
        'itself, such as "@output[loss]"',
    )
    output: str = Field("", description="element of the student's output that labels are compared with, such as [0]")

    @model_validator(mode="after")
    def _is_a_loss(self) -> HardSection:
        try:
            self.build()
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def build(self) -> Hard:
        """The loss that this section describes."""
        return Hard(self.weight, self.loss, self.output, **self.time)


class SoftSection(TimedSection):
    """The teacher's softened outputs; fields as in `layerlink.Soft`."""

    temperature: float = Field(4.0, ge=LOWEST_T, le=HIGHEST_T, description="T, the divisor of both sides' logits")
    weight: float = Field(1.0, ge=0, description="what the term is multiplied by")
    t_squared: YesNo = Field(True, description="also by T^2, which keeps gradients alike at every T")
    form: Literal["kl", "cross-entropy"] = Field("kl", description="their gradients are the same")
    topk: Whole | None = Field(
        None,
        ge=1,
        lt=2**24,
        description="compare the teacher's so many likeliest classes, and all others as one; teacher.store keeps these",
    )
    output: str = Field("", description="element of the student's output that is compared, such as [1]")
    teacher_output: str = Field("", description="the same of the teacher's output")
    teachers: dict[str, float] | None = Field(None, description="of several, the weight of each; None: all alike")
    average: Literal["probabilities", "logits"] = Field(
        "probabilities", description="what of several teachers is averaged"
    )

    @model_validator(mode="after")
    def _has_outputs(self) -> SoftSection:
        try:
            self.build()
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def build(self) -> Soft:
        """The loss that this section describes."""
        return Soft(
            self.temperature,
            self.weight,
            self.t_squared,
            self.form,
            self.output,
            self.teacher_output,
            self.teachers,
            self.average,
            self.topk,
            **self.time,
        )


def _weight_alone(value: Any) -> Any:
    if isinstance(value, str) and (value.startswith("@") or ":" in value):
        return {"loss": value}
    return {"weight": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


HardField = Annotated[HardSection, BeforeValidator(_weight_alone)]


def _is_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('put the link in quotes: without them YAML reads its colon as "key: value"')
    return value


def _parses(text: str) -> str:
    try:
        Link.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


def _list_of_texts(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list of texts in quotes, such as ["group2 : mse * 40"]')
    return value


LinkText = Annotated[str, BeforeValidator(_is_text), AfterValidator(_parses)]
LinkTexts = Annotated[tuple[LinkText, ...], BeforeValidator(_list_of_texts)]
