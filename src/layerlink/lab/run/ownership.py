"""Whose run a folder holds: code that it names is called only where this user made the run, or says so.

A run is marked with the user's own key (``files/own.py``) over its recipe and over where the code that it names was
found. A folder that somebody handed over has no such mark, and one whose recipe was changed since has a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from layerlink.config.changes import read_overrides
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.own import is_own, mark_of, why_no_key
from layerlink.lab.recipe.file import LoadedRecipe, dump_recipe, load_recipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.printable import one_line
from layerlink.user_code import found_at, is_installed

MOST_BYTES = 1_000_000  # of a recipe


_WHY = (
    "You did not make this run here, or it was changed since; or it is from before runs were marked: --resume with its "
    "recipe marks it."
)


class ForeignCodeError(UsageError):
    """A folder that somebody else made names code."""


def adopt(run: RunFolder, recipe: Recipe) -> None:
    """Mark the run as this user's, who asked for just this recipe; nothing where the folder holds another.

    A recipe that was written before a field was there has its default.
    """
    with suppress(OSError, UnicodeDecodeError, LayerlinkError):
        text = run.read_text(run.recipe)
        asked, there = (_without_epochs(it) for it in (recipe, recipe_of_run(run).recipe))
        if asked != there or _own_code(run, text) is not None:
            return
        code = {path: found_at(path) for _, path in recipe.user_code}
        mark = mark_of(_content(text, code), "run")
        if mark is not None:
            run.write_text(run.mark, json.dumps({"mark": mark, "code": code}, indent=2) + "\n")


def recipe_of_run(run: RunFolder, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """The recipe in a run's folder, read and no more: nothing that it names is imported.

    Raises:
        LayerlinkError: where it is no regular file of the folder.
        UsageError: everything that is wrong with it.
    """
    return load_recipe(str(run.recipe), overrides, text=_text_of(run))


def trusted_recipe_of_run(run: RunFolder, overrides: Sequence[str] = (), *, trust_code: bool = False) -> LoadedRecipe:
    """The recipe in a run's folder, to be set up.

    In a run that this user did not make it says nothing about what is written elsewhere: no download, and a store only
        in
    the user's own cache.

    Args:
        run: the folder.
        overrides: ``key=value`` texts of the user; code that they name is trusted.
        trust_code: whether the user trusts all of it.

    Raises:
        ForeignCodeError: where it names code, this user did not make it, and ``trust_code`` is off.
    """
    loaded = recipe_of_run(run, overrides)
    if trust_code:
        return loaded
    own = _own_code(run, _text_of(run))
    foreign = [(who, path) for who, path in _not_overridden(loaded.recipe, overrides) if not _is_known(path, own)]
    if foreign:
        named = ", ".join(dict.fromkeys(one_line(f"{who} {path}") for who, path in foreign))
        raise ForeignCodeError(
            f"{run.path} names code, which would be called: {named}. {why_no_key() or _WHY} Where you trust it say "
            "--trust-code"
        )
    return loaded if own is not None else _harmless(loaded, overrides)


def _without_epochs(recipe: Recipe) -> str:
    return dump_recipe(recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 1})}))


def _text_of(run: RunFolder) -> str:
    try:
        if run.recipe.stat().st_size > MOST_BYTES:
            raise UsageError(
                f"{run.recipe} has {run.recipe.stat().st_size:,} bytes; a recipe has at most {MOST_BYTES:,}"
            )
        return run.read_text(run.recipe)
    except (OSError, UnicodeDecodeError) as error:
        raise LayerlinkError(f"cannot read {run.recipe}: {error}") from None


def _own_code(run: RunFolder, recipe: str) -> dict[str, str] | None:
    """Where the code that a run names was found when this user made it; None where this user did not make it."""
    try:
        said = json.loads(run.read_text(run.mark))
        code = {str(path): str(place) for path, place in said["code"].items()}
        return code if is_own(said["mark"], _content(recipe, code), "run") else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _content(recipe: str, code: Mapping[str, str]) -> bytes:
    return json.dumps([recipe, dict(sorted(code.items()))]).encode()


def _is_known(path: str, own: Mapping[str, str] | None) -> bool:
    """Whether it is the code that the run was made with: of the same file, or of something that is installed."""
    if own is None or path not in own:
        return False
    now = found_at(path)
    return now == own[path] or (is_installed(now) and is_installed(own[path]))


def _not_overridden(recipe: Recipe, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """The code that the user does not name himself."""
    places = [".".join(map(str, change.place)) for change in read_overrides(overrides, [])]
    return [
        (who, path) for who, path in recipe.user_code if not any(f"{who}.".startswith(f"{place}.") for place in places)
    ]


def _harmless(loaded: LoadedRecipe, overrides: Sequence[str]) -> LoadedRecipe:
    changes: dict[str, Any] = {}
    recipe = loaded.recipe
    if not any(change.place in (("data",), ("data", "download")) for change in read_overrides(overrides, [])):
        changes["data"] = recipe.data.model_copy(update={"download": False})
    if recipe.teacher is not None and recipe.teacher.store is not None:
        store = recipe.teacher.store.model_copy(update={"root": None})
        changes["teacher"] = recipe.teacher.model_copy(update={"store": store})
    return replace(loaded, recipe=recipe.model_copy(update=changes))
