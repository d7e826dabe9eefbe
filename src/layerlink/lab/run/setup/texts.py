"""A recipe's texts, by the tokenizer of its student."""

from __future__ import annotations

from collections.abc import Sequence

from layerlink.data.images import Source
from layerlink.data.text.documents import Documents, load_documents
from layerlink.data.text.load import Texts, load_texts
from layerlink.data.text.sequences import SequenceViews
from layerlink.data.text.tables import Wanted
from layerlink.data.text.tokens import Tokenizer
from layerlink.data.text.views import TextViews
from layerlink.errors import UsageError
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TextSection
from layerlink.user_code import HUB


def texts_of(recipe: Recipe) -> tuple[Source, TextViews]:
    """The recipe's texts, on the CPU, and how models see them.

    Raises:
        UsageError: where no tokenizer is told, or student and teacher have not the same one.
        LayerlinkError: where the texts cannot be read.
    """
    section, causal = recipe.data.tables, recipe.is_causal
    _check_teachers(recipe)
    if problems := section.problems(causal=causal):
        raise UsageError("; ".join(f"data.texts.{what}" for what in problems))
    tokenizer = Tokenizer.load(tokenizer_of(recipe))
    places = [it.model.removeprefix(HUB) for it in recipe.frozen_teachers.values() if it.model.startswith(HUB)]
    others = [Tokenizer.load(place) for place in dict.fromkeys(places) if place != tokenizer.place]
    if causal:
        return _sequences_of(recipe, section, tokenizer, others)
    how = Texts(section.wanted, section.classes, section.max_length)
    source = load_texts(recipe.data.root, how, tokenizer, teachers=others)
    return source, TextViews(tokenizer.place, tokenizer.vocabulary, section.max_length, tokenizer.padding)


def tokenizer_of(recipe: Recipe) -> str:
    """Name or folder of the tokenizer of a recipe's texts.

    Raises:
        UsageError: where none is told.
    """
    if recipe.data.texts is not None and recipe.data.texts.tokenizer is not None:
        return recipe.data.texts.tokenizer
    if not recipe.student.model.startswith(HUB):
        raise UsageError(
            f"data.texts.tokenizer: name one: the student {recipe.student.model} is no hf:NAME_OR_FOLDER, whose own "
            "would be taken"
        )
    return recipe.student.model.removeprefix(HUB)


def _sequences_of(
    recipe: Recipe, section: TextSection, tokenizer: Tokenizer, teachers: Sequence[Tokenizer]
) -> tuple[Source, SequenceViews]:
    data, ignore = recipe.data, recipe.task.build().ignore
    assert ignore is not None  # noqa: S101 - of this task it is a number
    length, packing = section.max_length, section.packing
    how = Documents(Wanted(section.columns, None), length, packing, ignore, data.validation, data.split_seed)
    source = load_documents(data.root, how, tokenizer, teachers=teachers)
    place, vocabulary = tokenizer.place, tokenizer.vocabulary
    return source, SequenceViews(place, vocabulary, length, tokenizer.padding, packing, ignore)


def _check_teachers(recipe: Recipe) -> None:
    for name, section in recipe.every_teacher.items():
        who = f"teachers.{name}" if name else "teacher"
        if section.statistics is not None or section.image_size is not None:
            raise UsageError(f"{who}: normalize, mean, std and image_size are of images, and the data are texts")
