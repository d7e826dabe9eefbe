"""The methods that are a recipe rather than a loss: each takes its steps, in every stage of its training."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from layerlink.config.shipped import shipped
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.learning.mutual import learner_of
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.setup.setup import set_up
from layerlink.models import build_model

METHODS = [name for name in shipped("recipe") if name.startswith("methods/")]
TINY = ["data.name=digits", "data.train_images=40", "data.validation=20", "training.batch_size=8", "precision=float32"]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained ones, in files."""
    folder = tmp_path_factory.mktemp("teachers")
    for name in ("resnet20", "resnet32", "resnet56"):
        torch.manual_seed(0)
        model = build_model(name, num_classes=10, image_size=32, channels=1)
        safetensors.torch.save_file(model.state_dict(), folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_in_all_its_stages(name: str, teachers: Path) -> None:
    recipe = load_recipe(name).recipe
    weights = [
        f"{'teachers.' + which if which else 'teacher'}.weights={teachers / section.model}.safetensors"
        for which, section in recipe.frozen_teachers.items()
    ]
    normal = [f"{weight.partition('.weights')[0]}.mean=null" for weight in weights]
    normal += [text.replace(".mean", ".std") for text in normal]
    setup = set_up(load_recipe(name, [*TINY, *normal, *weights]))
    learner = learner_of(setup)
    seen: set[str] = set()
    for epoch in (0, 15):
        learner.start_epoch(epoch)
        batch = next(setup.batches.epoch(epoch))
        before = [value.clone() for value in setup.distiller.student.parameters()]
        losses = learner.step(batch, taught_for(setup.taught_by, [setup], batch))
        assert bool(losses.total.isfinite())
        assert epoch == 0 or any(
            not torch.equal(old, new) for old, new in zip(before, setup.distiller.student.parameters(), strict=True)
        )
        seen |= losses.terms.keys()
    expected = {link.text for link in setup.distiller.whole_objective.links}
    expected |= {"soft"} if recipe.soft else set()
    assert seen == expected | ({"hard"} if recipe.hard.weight else set())


def test_the_methods_that_the_field_knows_are_there() -> None:
    assert {name.partition("/")[2] for name in METHODS} == {
        *("fitnets", "ab", "fsp", "reviewkd", "mlkd", "born-again", "mutual", "assistant", "assistant-student"),
        *("label-free", "several-teachers", "simkd"),
    }
