from __future__ import annotations

from collections.abc import Callable

import torch

from layerlink.lab.bench.costs import measure_costs
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.setup.setup import set_up


def test_costs_count_weights_gradients_momentum_and_kept_activations(recipe: Callable[..., LoadedRecipe]) -> None:
    setup = set_up(recipe("training.ema=null", "training.batch_size=32", links=True))
    before = {name: value.clone() for name, value in setup.distiller.student.state_dict().items()}
    costs = measure_costs(setup)
    assert all(torch.equal(value, before[name]) for name, value in setup.distiller.student.state_dict().items())
    assert all(parameter.grad is None for parameter in setup.distiller.student.parameters())
    weights = 4 * (3 * costs.student_parameters + (costs.teacher_parameters or 0))
    kept = costs.memory_bytes - weights
    first_map = 32 * 3 * 32 * 32 * 4  # group1's output: 3 channels of 32x32, float32
    assert 2 * first_map < kept < 20 * first_map
    assert costs.steps == 3 * 8
    assert costs.seconds_per_step > 0
