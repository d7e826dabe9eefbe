from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.reading.evaluation import read_images
from layerlink.lab.run.setup.setup import set_up
from layerlink.taps.modes import evaluating
from layerlink.tasks.classification import percent_equal


@pytest.mark.parametrize("training", [True, False])
def test_a_model_is_in_the_mode_it_was_in_whatever_happened(training: bool) -> None:
    model = nn.Sequential(nn.Dropout()).train(training)
    seen: list[bool] = []

    def look_and_break() -> None:
        seen.extend([model.training, torch.is_grad_enabled()])
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), evaluating(model):
        look_and_break()
    assert seen == [False, False]
    assert model.training == model[0].training == training
    assert torch.is_grad_enabled()


def test_predictions_are_the_largest_logits_in_the_images_order(recipe: Callable[..., LoadedRecipe]) -> None:
    setup = set_up(recipe())
    model, images = setup.distiller.student, setup.images.test
    found = read_images(setup.student, setup).answers
    assert found is not None
    model.eval()
    with torch.no_grad():
        expected = model(setup.images.views(images.images)).argmax(dim=1)
    assert float((found == expected).float().mean()) > 0.995  # batches of another size round differently


def test_percent() -> None:
    assert percent_equal(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0, 3, 0])) == 50
