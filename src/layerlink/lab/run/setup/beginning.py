"""How a student begins: with layers of its teacher, and with layers that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from layerlink.config.changes import Place
from layerlink.errors import Problem, UsageError, unknown_name
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.models import ModelSection
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.models import build_role


def begin(
    loaded: LoadedRecipe,
    student: nn.Module,
    teachers: Mapping[str, nn.Module],
    images: Images,
    problems: list[Problem],
) -> None:
    """Give a new student the layers that ``student.from_teacher`` names, and hold those that ``student.frozen`` does.

    Args:
        loaded: the recipe.
        student: newly made.
        teachers: by name; one alone has none.
        images: the recipe's.
        problems: to be added to.
    """
    section, sources = loaded.recipe.student, dict[str, nn.Module]()
    for own, place in section.from_teacher.items():
        which, _, path = place.partition("/") if len(teachers) > 1 else ("", "", place)
        where: Place = ("student", "from_teacher", own)
        try:
            if which not in teachers:
                raise UsageError(_no_teacher(which, teachers))
            if which not in sources:
                sources[which] = _as_in_file(loaded, which, teachers[which], images)
            _copy(_layer(student, own, "student"), _layer(sources[which], path, "teacher"), own, path)
        except UsageError as error:
            problems.append(loaded.problem(where, str(error)))
    for path in section.frozen:
        try:
            _layer(student, path, "student").requires_grad_(False)
        except UsageError as error:
            problems.append(loaded.problem(("student", "frozen"), str(error)))


def _no_teacher(which: str, teachers: Mapping[str, nn.Module]) -> str:
    if not teachers:
        return "there is no frozen teacher to begin from: name one, or leave out from_teacher"
    return unknown_name("teacher", which, teachers) + " Write TEACHER/LAYER, as there are several"


def _as_in_file(loaded: LoadedRecipe, which: str, teacher: nn.Module, images: Images) -> nn.Module:
    """The teacher with the digits of its file: one that is shared may hold weights in fewer."""
    section: ModelSection | None = loaded.recipe.frozen_teachers.get(which)
    if section is None or section.loaded_from is None:
        return teacher
    place: Place = ("teachers", which) if which else ("teacher",)
    return build_role(loaded, place, section, images, [], []) or teacher


def _layer(model: nn.Module, path: str, role: str) -> nn.Module:
    layers: dict[str, nn.Module] = {name: layer for name, layer in model.named_modules() if name}
    if path not in layers:
        raise UsageError(unknown_name(f"layer of the {role}", path, layers))
    return layers[path]


@torch.no_grad()
def _copy(layer: nn.Module, source: nn.Module, own: str, path: str) -> None:
    ours, theirs = layer.state_dict(), source.state_dict()
    sizes = [{name: tuple(value.shape) for name, value in state.items()} for state in (ours, theirs)]
    if sizes[0] != sizes[1]:
        differing = sorted(
            name for name in sizes[0].keys() | sizes[1].keys() if sizes[0].get(name) != sizes[1].get(name)
        )
        shown = ", ".join(
            f"{name} {sizes[0].get(name, 'missing')} and {sizes[1].get(name, 'missing')}" for name in differing[:3]
        )
        raise UsageError(f"{own} and the teacher's {path} differ in {len(differing)} tensors: {shown}")
    for name, value in ours.items():
        value.copy_(theirs[name])
