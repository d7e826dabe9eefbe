"""Recipes: everything that decides a run, as a typed schema. What each field means stands beside it."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from layerlink.config.image_size import ImageSize, alike, shown, sides
from layerlink.errors import UsageError, unknown_name
from layerlink.lab.recipe.augmenting import AugmentFields
from layerlink.lab.recipe.models import EMA, NamedTeacher, StudentField, TeacherField, TeacherName, TeacherSection
from layerlink.lab.recipe.optimizers import problem_with, takes
from layerlink.lab.recipe.peers import Peer, PeerName, recipes_of_peers, taught_by_peers
from layerlink.lab.recipe.section import FilePath, PixelSize, Section, Whole, YesNo
from layerlink.lab.recipe.terms import HardField, HardSection, LinkTexts, SoftSection
from layerlink.lab.recipe.texts import TEXT, TextSection, not_of_texts
from layerlink.tasks import Task, as_task
from layerlink.transfer import Link
from layerlink.transfer.link import Scale, user_code
from layerlink.transfer.schedule import Decay
from layerlink.user_code import is_code


class DataSection(AugmentFields):
    """Which images, and how the models see them."""

    name: str = Field(
        "digits", description="a data set that `layerlink ls` shows, or package.module:callable that gives a Source"
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="of the source segmentation, or of a callable of your own, beside root and size",
    )
    root: FilePath | None = Field(None, description="folder of its files; relative to where the command is run")
    download: YesNo = Field(False, description="fetch the original archive into root where it is missing")
    skip_bad: YesNo = Field(False, description="leave out images that cannot be read, with a warning")
    most_pixels: Whole = Field(
        89_000_000, ge=1, description="that an image may have, in the source folder; no larger one is decoded"
    )
    memory_gb: float = Field(
        4.0, gt=0, description="10^9 bytes of pixels that may lie in memory; more are read from disk as they are needed"
    )
    workers: Whole | None = Field(
        None,
        ge=0,
        le=64,
        description="processes that read and decode ahead of the training then; one a core by default",
    )
    image_size: PixelSize = Field(32, description="pixels the models get, up to 4096 a side; images are scaled to it")
    train_images: Whole | None = Field(None, ge=1, description="how many to train on; all that are left by default")
    labelled: Whole | None = Field(
        None, ge=1, description="how many of the training images have labels, spread over the classes; all by default"
    )
    unlabelled: FilePath | None = Field(
        None,
        description="a folder of images without classes, at any depth: teacher and links teach by them, labels do not",
    )
    validation: float = Field(0.1, gt=0, description="kept apart for selection: a share below 1, or a count")
    split_seed: Whole = Field(0, ge=0, lt=2**31, description="of the split; the same for runs to be compared")
    augment: Literal["none", "flip", "crop", "crop-flip"] = Field("none", description="what is drawn for every view")
    views: Whole = Field(
        1, ge=1, le=8, description="augmented views of every image in a batch, for losses that ask for them"
    )
    crop_padding: Whole = Field(4, ge=0, le=64, description="largest shift of a crop, in stored pixels")
    normalize: Literal["mean-std", "mean", "none"] = Field(
        "mean-std", description="subtract the training images' mean; divide by their standard deviation"
    )

    texts: TextSection | None = Field(None, description="columns, labels and tokens of the data set text")

    @property
    def partly_labelled(self) -> bool:
        """Whether there are training examples without a label."""
        return self.labelled is not None or self.unlabelled is not None

    @field_validator("validation")
    @classmethod
    def _whole_count(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("a share below 1 or a whole number of images")
        return value

    @model_validator(mode="after")
    def _of_one_kind(self) -> DataSection:
        if self.name != TEXT and self.texts is not None:
            raise ValueError(f"texts is of data set text; name is {self.name}")
        fields = type(self).model_fields
        given = [it for it in fields if getattr(self, it) != fields[it].get_default(call_default_factory=True)]
        if self.name == TEXT and (others := not_of_texts(given)):
            raise ValueError(f"{others} of images, and the data set text has none: leave out")
        return self

    @model_validator(mode="after")
    def _views_differ(self) -> DataSection:
        if self.views > 1 and self.augment == "none" and self.more is None and self.mixing is None:
            raise ValueError("several views of an image are the same without augmentation: set augment")
        return self


class TaskSection(Section):
    """What the outputs mean; `task: segmentation` is short for `task: {name: segmentation}`."""

    name: str = Field("classification", description="a task that `layerlink ls` shows, or package.module:callable")
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="of the task, such as {ignore: 255}")

    def build(self) -> Task:
        """The task that this section describes.

        Raises:
            UsageError: where there is none.
        """
        return as_task(self.name, self.arguments)

    @model_validator(mode="after")
    def _is_known(self) -> TaskSection:
        if ":" not in self.name:  # a callable of the user's own is imported where it is needed, not where it is read
            try:
                self.build()
            except UsageError as error:
                raise ValueError(str(error)) from None
        return self


def _task_by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


TaskField = Annotated[TaskSection, BeforeValidator(_task_by_name)]


class TrainingSection(Section):
    """How the student is trained."""

    epochs: Whole = Field(25, ge=1, le=100_000, description="passes over the training images")
    batch_size: Whole = Field(128, ge=1, description="images a step, over all processes")
    optimizer: str = Field(
        "sgd", description="sgd, adamw or any other of torch.optim by its name in small letters, such as nadam"
    )
    optimizer_arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="what it takes beside lr and weight_decay, such as {betas: [0.9, 0.95]}"
    )
    lr: float = Field(0.004, gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    nesterov: YesNo = Field(False, description="Nesterov's momentum, of SGD")
    weight_decay: float = Field(0.0, ge=0, description="of all weights")
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = Field(
        "step", description="how the learning rate goes from lr to its end"
    )
    step_epochs: float = Field(10, gt=0, description="the step schedule multiplies by step_factor every so often")
    milestones: tuple[float, ...] = Field(
        (), description="the step schedule multiplies by step_factor at these epochs, in place of every step_epochs"
    )
    step_factor: float = Field(0.1, gt=0, le=1, description="what the step schedule multiplies by")
    warmup_epochs: float = Field(0, ge=0, description="learning rate rises linearly from 0 for so long")
    clip_norm: float | None = Field(None, gt=0, description="largest L2 norm of the whole gradient")
    link_lr: float | None = Field(None, gt=0, description="peak learning rate of adapters and trained losses; None: lr")
    link_weight_decay: float | None = Field(
        None, ge=0, description="of adapters and trained losses; None: weight_decay"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label that is spread over all classes")
    ema: float | None = Field(None, gt=0, lt=1, description="decay per step of averaged weights, which are kept")
    keep: Literal["best", "last"] = Field(
        "best", description="epoch whose weights are kept, by the task's validation score"
    )

    @model_validator(mode="after")
    def _is_an_optimizer(self) -> TrainingSection:
        if problem := problem_with(self.optimizer, self.optimizer_arguments):
            raise ValueError(problem)
        if self.weight_decay and not takes(self.optimizer, "weight_decay"):
            raise ValueError(f"optimizer {self.optimizer} has no weight_decay; got {self.weight_decay:g}")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingSection:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be below epochs ({self.epochs})")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones are those of schedule step; schedule is {self.schedule}")
        if any(later <= earlier for earlier, later in itertools.pairwise((0.0, *self.milestones))):
            raise ValueError("milestones must be epochs > 0, each later than the one before")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer sgd and momentum > 0")
        return self


class Recipe(Section):
    """A full description of a run. With its seed, versions and commit it can be run again."""

    data: DataSection = Field(
        default_factory=lambda: DataSection.model_validate({}), description="which images, and how they are seen"
    )
    task: TaskField = Field(default_factory=lambda: TaskSection.model_validate({}), description="what the outputs mean")
    teacher: TeacherField = Field(None, description="the frozen source; none where labels alone teach")
    teachers: dict[TeacherName, NamedTeacher] | None = Field(
        None, description="two or more by name, in place of teacher; links name one: big/layer3 -> layer2 : mse"
    )
    student: StudentField = Field(description="the model that learns")
    peers: dict[PeerName, Peer] | None = Field(
        None, description="by name students that learn beside the student, each from the others, in place of teacher"
    )
    hard: HardField = Field(
        default_factory=lambda: HardSection.model_validate({}), description="weight of the labels' loss, and its time"
    )
    soft: SoftSection | None = Field(None, description="the teacher's softened outputs; none where they do not teach")
    links: LinkTexts = Field(
        (), description='"TEACHER -> STUDENT : LOSS(option=value) * WEIGHT, adapter=auto, scale=..., until=..."'
    )
    link_scale: Scale = Field("none", description="of links that do not say their own; see layerlink.LinkScales")
    link_until: float | None = Field(None, gt=0, description="links end after so many epochs; fractions are allowed")
    link_decay: Decay = Field("none", description="linear: links fade to 0 at their end, or the training's")
    training: TrainingSection = Field(
        default_factory=lambda: TrainingSection.model_validate({}), description="how the student is trained"
    )
    seed: Whole = Field(0, ge=0, lt=2**31, description="of initial weights, order and augmentation")
    device: str = Field("auto", description="cpu, cuda, cuda:1, mps; auto: a GPU where there is one")
    strict: YesNo = Field(False, description="what a run would warn of ends it")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="of the arithmetic; weights are float32. auto: float32, or bfloat16 where this machine multiplies "
        "it fast; float16, with scaled gradients, is for GPUs without it",
    )

    @field_validator("links")
    @classmethod
    def _links_stand_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a link stands here twice; add up its weights instead")
        return value

    @field_validator("device")
    @classmethod
    def _device_form(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
            raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
        return value

    @model_validator(mode="after")
    def _has_something_to_learn_from(self) -> Recipe:
        self._check_teachers()
        if not self.every_teacher and (self.soft is not None or self.links):
            raise ValueError("soft and links need a teacher: add teacher: {model: ..., weights: ...}")
        self._check_terms()
        for name, other in recipes_of_peers(self).items():
            try:
                other._check_terms()
            except ValueError as error:
                raise ValueError(f"peers.{name}: {error}") from None
        return self

    def _check_terms(self) -> None:
        """Something must be learnt from, at every time."""
        taught = [self.hard.weight, self.soft.weight if self.soft else 0]
        taught += [Link.parse(text).weight for text in self.links]
        if not any(taught):
            raise ValueError("nothing to learn from: give hard, soft or a link a weight > 0")
        if not any(taught[:2]):
            self._check_links_alone()
        self._check_times()

    @property
    def every_teacher(self) -> dict[str, TeacherSection]:
        """The teachers by name; one alone has none."""
        if self.peers:
            return taught_by_peers(self.peers)
        return {"": self.teacher} if self.teacher is not None else dict(self.teachers or {})

    @property
    def frozen_teachers(self) -> dict[str, TeacherSection]:
        """Those that are models of their own and trained already: not the student's average, and no peers."""
        every = {} if self.peers is not None else self.every_teacher
        return {name: section for name, section in every.items() if section.model != EMA}

    @property
    def teacher_sizes(self) -> list[ImageSize]:
        """The pixels that teachers were trained with, where they say so, each once."""
        sizes = (section.image_size for section in self.every_teacher.values())
        return sorted({size for size in sizes if size is not None}, key=sides)

    @property
    def user_code(self) -> list[tuple[str, str]]:
        """The code of the user's own that it names as ``package.module:name``: who names it, and the path.

        Reading a recipe imports none of it; setting it up does.
        """
        named = [("data.name", self.data.name), ("task.name", self.task.name), ("student.model", self.student.model)]
        for name, section in ({} if self.peers else self.every_teacher).items():
            named.append((f"teachers.{name}.model" if name else "teacher.model", section.model))
        for name, peer in (self.peers or {}).items():
            named.append((f"peers.{name}.model", peer.model))
        if self.hard.loss is not None and not self.hard.loss.startswith("@"):
            named.append(("hard.loss", self.hard.loss))
        links = {
            "links": self.links,
            **{f"peers.{name}.links": peer.links for name, peer in (self.peers or {}).items()},
        }
        named += [(who, path) for who, texts in links.items() for path in user_code(texts)]
        return [(who, path) for who, path in named if is_code(path)]

    def _check_teachers(self) -> None:
        """One teacher, or two or more by name that no store keeps; links and soft name those that are there."""
        given = [name for name in ("teacher", "teachers", "peers") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give {' or '.join(given)}, not both")
        if self.peers is not None and not self.peers:
            raise ValueError("peers are students by name, one or more: peers: {wide: vgg11}")
        if self.teachers is not None and len(self.teachers) < 2:
            raise ValueError("teachers are two or more by name; one alone is teacher: {model: ..., weights: ...}")
        own = self.data.image_size
        other = next((size for size in self.teacher_sizes if not alike(size, own)), None)
        if other is not None:
            raise ValueError(
                f"a teacher sees images of {shown(other)}, the student of {shown(own)}: give both sizes the same ratio "
                "of height to width"
            )
        if self.data.views > 1 and any(section.store is not None for section in self.every_teacher.values()):
            raise ValueError("a store holds one view of every image and data.views are more: leave out teacher.store")
        if self.data.mixing is not None and any(section.store is not None for section in self.every_teacher.values()):
            raise ValueError(
                "a store holds what a teacher gives for one image, and with mixup or cutmix a view is of two: leave "
                "out teacher.store"
            )
        if any(section.store is not None for section in (self.teachers or {}).values()):
            raise ValueError("teacher.store keeps one teacher; of several each batch is computed")
        if any(name == EMA for name in (section.model for section in (self.teachers or {}).values())):
            raise ValueError("the student's own average is a teacher alone: teacher: ema")
        named = self.soft.teachers if self.soft is not None and self.soft.teachers else {}
        if named and self.peers is not None:
            raise ValueError("soft.teachers weighs teachers; of peers each learns from the mean of all others")
        unknown = [name for name in named if name not in (self.teachers or {})]
        if unknown:
            raise ValueError(f"soft.teachers: {unknown_name('teacher', unknown[0], self.teachers or ())}")

    @property
    def whole_links(self) -> tuple[Link, ...]:
        """The links with what is set for all of them."""
        given = {"scale": self.link_scale, "until": self.link_until, "decay": self.link_decay}
        return tuple(Link.parse(text).filled(**given) for text in self.links)

    def _check_times(self) -> None:
        """At every time of the training, some term must count."""
        timed = [
            (self.hard.weight, self.hard.build().schedule),
            *([(self.soft.weight, self.soft.build().schedule)] if self.soft else []),
            *((link.weight, link.schedule) for link in self.whole_links),
        ]
        epochs = self.training.epochs
        moments = sorted({0.0, *(t for _, it in timed for t in (it.start, it.until or 0.0) if t < epochs)})
        for moment in moments:
            if not any(weight and it.weight_at(weight, moment, epochs) is not None for weight, it in timed):
                raise ValueError(
                    f"nothing is left to learn from at epoch {moment:g}: let a term begin earlier or end later"
                )

    def _check_links_alone(self) -> None:
        """Where nothing but links teaches, one must last, and none can be measured by the labels' gradient."""
        links = self.whole_links
        if not any(link.weight and (link.until or self.training.epochs) >= self.training.epochs for link in links):
            raise ValueError("nothing is left to learn from when the links end: raise until, or give hard a weight > 0")
        if any(link.scale == "gradient" for link in links):
            raise ValueError("scale=gradient compares with the gradient of the labels: give hard or soft a weight > 0")
