"""Recipes: everything that decides a run, as a typed schema. What each field means stands beside it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from layerlink.config.image_size import ImageSize, alike, shown, sides
from layerlink.errors import unknown_name
from layerlink.lab.recipe.compiling import CompileField
from layerlink.lab.recipe.data import DataSection
from layerlink.lab.recipe.models import EMA, NamedTeacher, StudentField, TeacherField, TeacherName, TeacherSection
from layerlink.lab.recipe.peers import Peer, PeerName, recipes_of_peers, taught_by_peers
from layerlink.lab.recipe.section import Section, Whole, YesNo
from layerlink.lab.recipe.task import TaskField, TaskSection
from layerlink.lab.recipe.terms import HardField, HardSection, LinkTexts, SoftSection
from layerlink.lab.recipe.track import TrackField
from layerlink.lab.recipe.training import TrainingSection
from layerlink.tasks import CausalLM
from layerlink.transfer import Link
from layerlink.transfer.link import Scale, user_code
from layerlink.transfer.schedule import Decay
from layerlink.user_code import is_code


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
    track: TrackField = Field(
        default_factory=dict, description="tensorboard, mlflow, wandb, trackio: which are told of every epoch"
    )
    strict: YesNo = Field(False, description="what a run would warn of ends it")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="of the arithmetic; weights are float32. auto: float32, or bfloat16 where this machine multiplies "
        "it fast; float16, with scaled gradients, is for GPUs without it",
    )

    compile: CompileField = False

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
    def is_causal(self) -> bool:
        """Whether its texts are to be gone on with, token by token."""
        return self.task.name == CausalLM.name

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
