"""The teachers that a recipe names: built, looked at as they see images, made into what teaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from layerlink.config.image_size import plain
from layerlink.data import Views
from layerlink.data.examples import Inputs
from layerlink.data.normalisation import Renormalised
from layerlink.errors import Problem, UsageError
from layerlink.files.paths import expanded
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.models import EMA, TeacherSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.models import build_role
from layerlink.taps.observed import Arithmetic
from layerlink.teachers import EMATeacher, FrozenTeacher, PeerTeacher, SeveralTeachers, Teacher
from layerlink.transfer import Soft

TaughtBy = FrozenTeacher | SeveralTeachers | EMATeacher | PeerTeacher


def build_teachers(
    loaded: LoadedRecipe, images: Images, problems: list[Problem], notes: list[str]
) -> dict[str, nn.Module]:
    """The frozen teachers of a recipe by name; that of one is empty.

    Args:
        loaded: the recipe.
        images: its own, whose sizes and classes models are made for.
        problems: to be added to, where one cannot be made.
        notes: to be added to: what was taken off the names in files of weights.
    """
    found = {}
    for name, section in loaded.recipe.frozen_teachers.items():
        place = ("teachers", name) if name else ("teacher",)
        model = build_role(loaded, place, section, images, problems, notes)
        if model is not None:
            found[name] = model
    return found


def taught_by(
    recipe: Recipe, teachers: Mapping[str, nn.Module], student: nn.Module, images: Images, run_as: Arithmetic
) -> TaughtBy | None:
    """What teaches: one model, several, peers as they are at every batch, the student's average, or nothing.

    Args:
        recipe: that says which.
        teachers: by name; one alone has none.
        student: whose average may teach.
        images: the recipe's: teachers may see them normalised otherwise, or in another size.
        run_as: makes the context that models run in.
    """
    if recipe.teacher is not None and recipe.teacher.model == EMA and not teachers:
        return EMATeacher(student, recipe.teacher.decay, output=recipe.student.logits, arithmetic=run_as)
    sections, kind = recipe.every_teacher, FrozenTeacher if recipe.peers is None else PeerTeacher
    # Where one sees another size all are called with several.
    plain = Renormalised(images.statistics, images.statistics) if recipe.teacher_sizes else None
    each = {
        name: kind(
            model,
            output=sections[name].logits if name in sections else "",
            head=sections[name].head if name in sections else "",
            arithmetic=run_as,
            view=teacher_view(sections.get(name), images) or plain,
        )
        for name, model in teachers.items()
    }
    return SeveralTeachers(each) if len(each) > 1 else each.get("")


def teacher_view(section: TeacherSection | None, images: Images) -> Renormalised | None:
    """How a teacher sees images, where its recipe says that it was trained with another normalisation or size.

    Raises:
        UsageError: where that is for another number of channels.
    """
    if section is None or (section.statistics is None and section.image_size is None):
        return None
    seen = images.statistics
    channels = len(seen[0])
    wanted = section.statistics or seen
    if len(wanted[0]) != channels:
        name = "normalize" if section.normalize else "mean"
        raise UsageError(f"teacher.{name} must be {channels} numbers, one a channel; got {len(wanted[0])}")
    return Renormalised(seen, wanted, section.image_size)


def seen_by_teacher(section: TeacherSection | None, images: Images) -> Inputs:
    """Two training examples as the teacher sees them."""
    sample, view = images.sample, teacher_view(section, images)
    return sample if view is None or not isinstance(sample, Tensor) else view(sample)


def teacher_warnings(recipe: Recipe, images: Images) -> Iterator[str]:
    """Where a teacher's run saw its data otherwise than its student will."""
    for name, section in recipe.every_teacher.items():
        if section.loaded_from is not None:
            yield from _seen_otherwise(f"the teacher {name}".strip(), section, section.loaded_from, images)


def _seen_otherwise(who: str, section: TeacherSection, weights: Path, images: Images) -> Iterator[str]:
    run = RunFolder(expanded(weights))
    if not run.data.exists():
        return
    taught = run.read_data()
    own: dict[str, Any] = {"image_size": plain(section.image_size)} if section.image_size else {}
    if section.statistics is not None:
        own |= dict(zip(("mean", "std"), map(list, section.statistics), strict=True))
    for name in ("classes", "image_size", "mean", "std", "vocabulary", "max_length"):
        if name in images.stamp and taught.get(name) != own.get(name, images.stamp[name]):
            yield (
                f"{who} was trained with {name} {taught.get(name)}, the student gets {images.stamp[name]}: "
                "set the data section as in the teacher's recipe"
            )
    if taught.get("validation") != images.stamp["validation"]:
        yield (
            f"the student's validation {images.validation.noun} are not the teacher's, so the teacher may have been "
            "trained on some of them: set data.validation and data.split_seed as in the teacher's recipe"
        )


def soft_of(recipe: Recipe, images: Images, teacher: Teacher | None) -> Soft | None:
    """The soft loss; of likeliest classes it takes those of a store, where the recipe keeps one of the plain view."""
    soft = None if recipe.soft is None else recipe.soft.build()
    if soft is None or soft.topk is None or recipe.teacher is None or recipe.teacher.store is None:
        return soft
    plain = images.views.augment == "none" and not (isinstance(images.views, Views) and images.views.more is not None)
    return replace(soft, stored=plain and isinstance(teacher, FrozenTeacher) and not soft.teacher_output)
