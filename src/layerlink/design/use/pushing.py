"""A run's student, ready to use, in a folder or a repository of Hugging Face's hub."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from layerlink.design.use.card import CARD, card_of
from layerlink.design.use.carried import carried, carried_facts, without_folder
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import regular
from layerlink.files.paths import expanded
from layerlink.files.weights import extra_file, read_weights
from layerlink.files.whole import PART, write_text, write_whole
from layerlink.lab.recipe.file import dump_recipe
from layerlink.lab.recipe.models import ModelSection, TeacherSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import recipe_of_run
from layerlink.optional import need

Model = TypeVar("Model", bound=ModelSection)


def push(run: RunFolder, target: str, *, private: bool = True) -> str:
    """Put a finished run's student where others can load it: weights, card, recipe, classes and preprocessing.

    Of texts the tokenizer's files go along, and of a student ``hf:`` its configuration.

    No code goes along, no path of this machine, and no mark that the run is this user's: ``ll.load`` calls code that
    its recipe names only where it is told to. A card that the run's folder holds is taken as it is.

    Args:
        run: the folder.
        target: a folder (``./model``, ``/data/model``), or ``OWNER/NAME`` of the hub.
        private: whether a new repository of the hub is private.

    Returns:
        Where it is now.

    Raises:
        UsageError: where the run is not finished, or the target is neither, or a folder that holds other things.
        LayerlinkError: where the hub refuses, a file cannot be written, or the weights are damaged.
    """
    if not target:
        raise UsageError("the target is empty; name a folder (./model), or OWNER/NAME of the hub")
    files, here = _files(run), target.startswith((".", "/", "~")) or expanded(Path(target)).is_dir()
    if not here and not re.fullmatch(r"[\w.-]+/[\w.-]+", target):
        raise UsageError(f"{target!r} is neither a folder (./{target}) nor OWNER/NAME of the hub")
    with carried(run, recipe_of_run(run).recipe) as beside:
        if here:
            return str(_into_folder(run, files, beside, expanded(Path(target))))
        with tempfile.TemporaryDirectory() as folder:
            return _to_hub(_into_folder(run, files, beside, Path(folder) / "model"), target, private=private)


def _files(run: RunFolder) -> dict[str, str]:
    """The text files, by name."""
    return {
        CARD: card_of(run),
        run.recipe.name: dump_recipe(_without_places(recipe_of_run(run).recipe)),
        run.data.name: json.dumps(carried_facts(run.read_data()), indent=2) + "\n",
        run.result.name: json.dumps(run.read_result(), indent=2) + "\n",
    }


def _without_places(recipe: Recipe) -> Recipe:
    """Without the paths of the machine that it was trained on, which say nothing elsewhere."""
    texts = recipe.data.texts
    if texts is not None and texts.tokenizer is not None:
        texts = texts.model_copy(update={"tokenizer": without_folder(texts.tokenizer)})
    changes: dict[str, Any] = {
        "data": recipe.data.model_copy(update={"root": None, "texts": texts}),
        "student": _without_weights(recipe.student),
    }
    if recipe.teacher is not None:
        changes["teacher"] = _named(recipe.teacher)
    if recipe.teachers is not None:
        changes["teachers"] = {name: _named(section) for name, section in recipe.teachers.items()}
    if recipe.peers is not None:
        changes["peers"] = {name: _without_weights(section) for name, section in recipe.peers.items()}
    return recipe.model_copy(update=changes)


def _without_weights(section: Model) -> Model:
    return section.model_copy(update={"model": without_folder(section.model), "weights": None})


def _named(teacher: TeacherSection) -> TeacherSection:
    """With the name of its weights' file, not its folder, and without the place of its stored tensors."""
    weights = teacher.weights if teacher.loaded_from is None else Path(teacher.loaded_from.name)
    return teacher.model_copy(update={"model": without_folder(teacher.model), "weights": weights, "store": None})


def _into_folder(run: RunFolder, files: dict[str, str], beside: Sequence[Path], folder: Path) -> Path:
    weights = [path for path in (run.student, extra_file(run.student)) if path.exists()]
    read_weights(run.student)  # whoever loads them must be able to
    names = {*files, *(path.name for path in (*weights, *beside))}
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder")
    others = (
        [path.name for path in folder.iterdir() if path.name not in names and path.suffix != PART]
        if folder.is_dir()
        else []
    )
    if others:
        raise UsageError(f"{folder} holds other things, such as {others[0]}; nothing was written. Name a new folder")
    for path in (*(regular(path, run.path) for path in weights), *beside):
        write_whole(folder / path.name, partial(shutil.copyfile, path))
    for name, text in files.items():
        write_text(folder / name, text)
    return folder


def _to_hub(folder: Path, target: str, *, private: bool) -> str:
    hub = need("huggingface_hub", "hub", "pushing to the hub")
    try:
        api = hub.HfApi()
        api.create_repo(target, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=target, folder_path=folder, commit_message="A student, with its card")
    except Exception as error:  # its client's errors have no common base beside those of its transport
        raise LayerlinkError(f"the hub did not take {target}: {type(error).__name__}: {error}") from error
    return str(done.commit_url)
