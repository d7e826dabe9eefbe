"""What a model of texts needs beside its weights where it goes elsewhere: the tokenizer, and of whose shape it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.errors import UsageError
from layerlink.files.hub import not_there, options_of, quiet
from layerlink.files.paths import expanded
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.trained import HERE, carried_student, tokenizer_facts
from layerlink.optional import need
from layerlink.user_code import HUB


@contextmanager
def carried(run: RunFolder, recipe: Recipe) -> Iterator[list[Path]]:
    """The files that go along, in a folder that is gone afterwards; none of images.

    Of a student ``hf:`` the configuration alone is among them: its weights are the run's. No code of it is run.

    Raises:
        UsageError: where tokenizer or configuration are no longer where the run had them.
        LayerlinkError: where the tokenizer makes other tokens than the student was trained with.
    """
    facts = run.read_data()
    if "vocabulary" not in facts:
        yield []
        return
    preprocessing = TextPreprocessing.of_run(tokenizer_facts(facts, run), run.data, recipe.data.tables.columns)
    transformers = need("transformers", "text", "writing a tokenizer")
    with tempfile.TemporaryDirectory() as folder:
        with quiet(transformers):
            preprocessing.loaded.own.save_pretrained(folder)
            _save_configuration(transformers, carried_student(recipe.student, run).model, folder)
        yield sorted(path for path in Path(folder).iterdir() if path.is_file())


def _save_configuration(transformers: Any, model: str, folder: str) -> None:
    """As ``hf:`` reads it, before a recipe's arguments change it."""
    if not model.startswith(HUB):
        return
    place = model.removeprefix(HUB)
    where, options = options_of(place)
    try:
        transformers.AutoConfig.from_pretrained(where, **options).save_pretrained(folder)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the library raises of what is not there
        raise not_there("model hf:", place, error) from None


def carried_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """What a run's ``data.json`` says where its tokenizer lies beside it."""
    return {**facts, "tokenizer": HERE} if "vocabulary" in facts else facts


def without_folder(place: str) -> str:
    """A name of the hub, or of a folder or file of this machine its last part alone.

    >>> without_folder("hf:/home/me/minilm"), without_folder("hf:google/bert_uncased"), without_folder("vgg7")
    ('hf:minilm', 'hf:google/bert_uncased', 'vgg7')
    """
    prefix = HUB if place.startswith(HUB) else ""
    name = place.removeprefix(prefix)
    of_this_machine = name.startswith(("/", "~", ".")) or (bool(prefix) and expanded(Path(name)).exists())
    return prefix + (Path(name).name if of_this_machine else name)
