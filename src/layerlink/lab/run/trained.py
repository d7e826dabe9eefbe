"""A finished run's student, ready to use: no data is read for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerlink.config.image_size import sides
from layerlink.data.examples import Inputs
from layerlink.data.preprocessing import Preprocessing
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.weights import load_weights
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TextSection
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.setup.models import MadeFor, make_model
from layerlink.tasks import CausalLM, Task


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
    facts, section = run.read_data(), loaded.recipe.student
    classes = facts.get("classes")
    task = loaded.recipe.task.build()
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not isinstance(classes, list) or not named or not (classes or isinstance(task, CausalLM)):
        raise LayerlinkError(f"{run.data} is damaged: classes must be names; got {classes!r:.60}")
    preprocessing, made_for, sample = _seen(facts, run, loaded.recipe, len(classes))
    model = make_model(section, made_for, loaded.recipe.seed, lambda: sample, "student")
    load_weights(model, run.path)
    return Trained(model.eval(), preprocessing, tuple(classes), task, loaded.recipe, run)


def _seen(
    facts: dict[str, Any], run: RunFolder, recipe: Recipe, classes: int
) -> tuple[Preprocessing | TextPreprocessing, MadeFor, Inputs]:
    """How a run saw its examples, what models of it are made for, and two examples that say nothing."""
    if "vocabulary" in facts:
        section = recipe.data.texts or TextSection.model_validate({})
        texts = TextPreprocessing.of_run(facts, run.data, section.columns)
        tokens = torch.zeros(2, 4, dtype=torch.int64)
        head = "causal-lm" if isinstance(recipe.task.build(), CausalLM) else "sequence-classification"
        return texts, MadeFor(classes, 32, 3, head), {"input_ids": tokens, "attention_mask": tokens + 1}
    images = Preprocessing.of_run(facts, run.data)
    size, channels = images.image_size, images.channels
    return images, MadeFor(classes, size, channels), torch.zeros(2, channels, *sides(size))
