"""The folder of a student: source, weights, a recipe with links, everything as JSON; nothing of the user's is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from layerlink.design.shrink.shrinking import Shrunk
from layerlink.design.written import Written, checksum
from layerlink.files.whole import write_text, write_whole
from layerlink.lab.recipe.data import DataSection
from layerlink.lab.recipe.file import dump_recipe
from layerlink.lab.recipe.models import StudentSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TEXT
from layerlink.lab.run.setup.texts import tokenizer_of


@dataclass(frozen=True)
class StudentFolder:
    """Names and writes the files.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def source(self) -> Path:
        """``build()`` gives the student; plain PyTorch."""
        return self.path / "student.py"

    @property
    def weights(self) -> Path:
        """What the student begins with."""
        return self.path / "student.safetensors"

    @property
    def recipe(self) -> Path:
        """That trains it by its teacher, with links."""
        return self.path / "recipe.yaml"

    @property
    def data(self) -> Path:
        """Everything as values, JSON."""
        return self.path / "shrink.json"

    def check(self) -> None:
        """Raise ``UsageError`` where a file would be replaced that was changed, or that is nobody's of here."""
        Written(self.data, "shrink").check(self.source, self.recipe, self.weights)

    def write(self, shrunk: Shrunk, recipe: Recipe, command: str) -> None:
        """Write everything; what an earlier call wrote is replaced.

        Args:
            shrunk: the student.
            recipe: that was asked about; its student becomes this one.
            command: that repeats it.
        """
        student = StudentSection(
            model=f"{self.source.name}:build", weights=self.weights, logits=recipe.student.logits, head="", frozen=()
        )
        full = recipe.model_copy(
            update={"student": student, "links": tuple(shrunk.links), "data": _data_without_teacher(recipe)}
        )
        texts = {
            self.source.name: shrunk.source,
            self.recipe.name: f"# {command}\n{dump_recipe(full, short=True)}",
        }
        content = weights_of(shrunk.model)
        written = {name: checksum(text) for name, text in texts.items()} | {self.weights.name: checksum(content)}
        write_text(self.data, json.dumps({**data_of(shrunk), "command": command, "written": written}, indent=1) + "\n")
        write_whole(self.weights, lambda part: part.write_bytes(content))
        for name, text in texts.items():
            write_text(self.path / name, text)


def _data_without_teacher(recipe: Recipe) -> DataSection:
    """The recipe's data, with the tokenizer named that was the student's while it was the teacher's model."""
    data = recipe.data
    if data.name != TEXT:
        return data
    return data.model_copy(update={"texts": data.tables.model_copy(update={"tokenizer": tokenizer_of(recipe)})})


def data_of(shrunk: Shrunk) -> dict[str, Any]:
    """A student's facts, as JSON has them."""
    return {
        "shares": shrunk.shares,
        "counts": {kind: {"teacher": one, "student": other} for kind, (one, other) in shrunk.counts.items()},
        "kept": [{"of": place, "layers": count, "teacher": of} for place, count, of in shrunk.kept],
        "width": shrunk.width,
        "explained": shrunk.explained,
        "links": shrunk.links,
        "notes": list(shrunk.notes),
    }


def weights_of(model: nn.Module) -> bytes:
    """A state as safetensors, each tensor with memory of its own."""
    return safetensors.torch.save(
        {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    )
