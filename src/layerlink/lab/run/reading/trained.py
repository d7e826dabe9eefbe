"""A finished run's student, ready to use: no data is read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerlink.config.image_size import sides
from layerlink.data.examples import Inputs
from layerlink.data.preprocessing import Preprocessing
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import regular
from layerlink.files.weights import load_weights
from layerlink.lab.recipe.models import ModelSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.setup.models import MadeFor, make_model
from layerlink.tasks import Task
from layerlink.user_code import HUB

HERE = "."  # the tokenizer lies in the folder itself
CONFIGURATION = "config.json"  # of a model of transformers


@dataclass(frozen=True)
class Trained:
    """A student with what is needed to use it.

    Args:
        model: in eval mode, on the CPU.
        preprocessing: what its run did to images or texts.
        classes: their names, in the order of the outputs.
        task: what outputs mean.
        recipe: of the run.
        run: the folder.
    """

    model: nn.Module
    preprocessing: Preprocessing | TextPreprocessing
    classes: tuple[str, ...]
    task: Task
    recipe: Recipe
    run: RunFolder

    @property
    def output(self) -> str:
        """The element of what the model gives that holds the outputs; empty where it is a tensor."""
        return self.recipe.student.logits


def trained(run: RunFolder, overrides: Sequence[str] = (), *, trust_code: bool = False) -> Trained:
    """The student of a finished run.

    Args:
        run: the folder.
        overrides: ``key=value`` texts over its recipe.
        trust_code: whether code that the folder names may be called, where this user did not make the run.

    Raises:
        UsageError: where the run is not finished.
        ForeignCodeError: where it names code of somebody else.
        LayerlinkError: where a file of it is damaged.
    """
    if not run.path.is_dir():
        raise UsageError(f"{run.path} is no folder of a run")
    run.read_result()
    loaded = trusted_recipe_of_run(run, overrides, trust_code=trust_code)
    facts, section = run.read_data(), carried_student(loaded.recipe.student, run)
    classes = facts.get("classes")
    task = loaded.recipe.task.build()
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not isinstance(classes, list) or not named or not (classes or loaded.recipe.is_causal):
        raise LayerlinkError(f"{run.data} is damaged: classes must be names; got {classes!r:.60}")
    preprocessing = preprocessing_of(facts, run, loaded.recipe)
    made_for, sample = made_for_run(preprocessing, loaded.recipe, len(classes)), sample_of(preprocessing)
    model = make_model(section, made_for, loaded.recipe.seed, lambda: sample, "student")
    load_weights(model, run.path)
    return Trained(model.eval(), preprocessing, tuple(classes), task, loaded.recipe, run)


def tokenizer_facts(facts: Mapping[str, Any], run: RunFolder) -> Mapping[str, Any]:
    """What a run's ``data.json`` says, with the folder of a tokenizer that lies beside it."""
    return {**facts, "tokenizer": str(run.path)} if facts.get("tokenizer") == HERE else facts


def carried_student(section: ModelSection, run: RunFolder) -> ModelSection:
    """The student ``hf:`` by the configuration that lies in its folder, where it was put there to go along."""
    if not section.model.startswith(HUB) or not (run.path / CONFIGURATION).exists():
        return section
    regular(run.path / CONFIGURATION, run.path)
    there = {"model": f"{HUB}{run.path}", "arguments": {**section.arguments, "pretrained": False}}
    return section.model_copy(update=there)


def preprocessing_of(facts: Mapping[str, Any], run: RunFolder, recipe: Recipe) -> Preprocessing | TextPreprocessing:
    """What a finished run did to its images or texts.

    Args:
        facts: what its ``data.json`` says.
        run: the folder.
        recipe: of the run.

    Raises:
        LayerlinkError: where the facts are damaged.
    """
    if "vocabulary" in facts:
        return TextPreprocessing.of_run(tokenizer_facts(facts, run), run.data, recipe.data.tables.columns)
    return Preprocessing.of_run(facts, run.data)


def made_for_run(seen: Preprocessing | TextPreprocessing, recipe: Recipe, classes: int) -> MadeFor:
    """What the models of a finished run are made for."""
    if isinstance(seen, TextPreprocessing):
        return MadeFor(classes, 32, 3, "causal-lm" if recipe.is_causal else "sequence-classification")
    return MadeFor(classes, seen.image_size, seen.channels)


def sample_of(seen: Preprocessing | TextPreprocessing, count: int = 2, length: int = 4) -> Inputs:
    """So many examples that say nothing; texts of so many tokens."""
    if isinstance(seen, TextPreprocessing):
        tokens = torch.zeros(count, length, dtype=torch.int64)
        return {"input_ids": tokens, "attention_mask": tokens + 1}
    return torch.zeros(count, seen.channels, *sides(seen.image_size))
