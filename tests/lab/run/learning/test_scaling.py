"""float16 with scaled gradients: what the scale does to weights, what a skipped step leaves, and going on."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import Learner, NotFiniteError
from layerlink.lab.run.learning.scaling import GROWS_AFTER, GradientScale
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.training import train, train_cohort
from peoples_models import StopAfter

Make = Callable[..., LoadedRecipe]
HALF = "precision=float16"


def parameter(*gradient: float) -> nn.Parameter:
    value = nn.Parameter(torch.zeros(len(gradient)))
    value.grad = torch.tensor(gradient)
    return value


def test_gradients_are_divided_and_an_overflow_halves_the_scale() -> None:
    scale = GradientScale(torch.device("cpu"))
    well, ill = parameter(65536.0, -131072.0), parameter(1.0, math.inf)
    assert float(scale.unscale([well, nn.Parameter(torch.zeros(1))])) == 0
    assert well.grad is not None
    assert well.grad.tolist() == [1, -2]
    assert float(scale.factor) == 65536
    assert float(scale.unscale([parameter(1.0), ill])) == 1
    assert float(scale.factor) == 32768
    for _ in range(GROWS_AFTER):
        scale.unscale([parameter(1.0)])
    assert float(scale.factor) == 65536
    other = GradientScale(torch.device("cpu"))
    other.load_state_dict(scale.state_dict())
    assert other.state_dict() == scale.state_dict()


def test_it_moves_as_torch_s_own_scaler() -> None:
    ours, theirs = GradientScale(torch.device("cpu")), torch.amp.GradScaler("cpu", growth_interval=GROWS_AFTER)
    generator = torch.Generator().manual_seed(1)
    for step in range(40):
        gradients = torch.randn(5, generator=generator) * (math.inf if step % 7 == 3 else 1)
        one, other = (parameter(*gradients.tolist()) for _ in range(2))
        theirs.scale(torch.zeros(()))
        optimizer = torch.optim.SGD([other], lr=1.0)
        theirs.unscale_(optimizer)
        theirs.step(optimizer)
        theirs.update()
        ours.unscale([one])
        assert float(ours.factor) == theirs.get_scale()
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad.nan_to_num(), other.grad.nan_to_num())


def overflowing(setup: Setup, at: int) -> None:
    """Let a training step's gradients leave float16 while its loss is finite."""
    seen = [0]

    def huge(gradient: Tensor) -> Tensor:
        seen[0] += 1
        return gradient * (math.inf if seen[0] == at else 1)

    next(setup.distiller.student.parameters()).register_hook(huge)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "nadam"])
@pytest.mark.parametrize("at", [1, 2])
def test_a_skipped_step_is_no_fault_and_changes_no_weight_nor_state(recipe: Make, optimizer: str, at: int) -> None:
    setup = set_up(recipe(HALF, f"training.optimizer={optimizer}", "training.lr=1e-3", links=True))
    overflowing(setup, at)
    learner = Learner(setup)
    assert learner.scale is not None
    learner.scale.factor.fill_(8.0)
    learner.start_epoch(0)
    batches = list(setup.batches.epoch(0))
    for batch in batches[: at - 1]:
        learner.step(batch)
    weights = [it.detach().clone() for it in learner.distiller.trainable_parameters()]
    state = {
        (number, key): value.clone()
        for number, it in learner.optimizer.state_dict()["state"].items()
        for key, value in it.items()
    }
    learner.step(batches[at - 1])
    assert float(learner.scale.factor) == 4
    now = [it.detach() for it in learner.distiller.trainable_parameters()]
    assert all(torch.equal(one, other) for one, other in zip(weights, now, strict=True))
    for number, it in learner.optimizer.state_dict()["state"].items():
        for key, value in it.items():
            assert torch.equal(value, state.get((number, key), torch.zeros_like(value))), (number, key)
    learner.step(batches[at])
    assert not all(
        torch.equal(one, other) for one, other in zip(weights, learner.distiller.trainable_parameters(), strict=True)
    )
    assert float(learner.scale.factor) == 4
    learner.check_finite()
    learner.check_weights()


def test_gradients_that_no_scale_makes_finite_end_the_run(recipe: Make) -> None:
    setup = set_up(recipe(HALF))
    next(setup.distiller.student.parameters()).register_hook(lambda it: it * math.nan)  # type: ignore[no-untyped-call]
    learner, batch = Learner(setup), next(setup.batches.epoch(0))
    learner.start_epoch(0)
    for _ in range(31):
        learner.step(batch)
    learner.check_finite()
    learner.step(batch)
    with pytest.raises(NotFiniteError, match="the gradient, at any scale of float16, = nan"):
        learner.check_finite()


def losses_of(run: RunFolder) -> list[float]:
    with run.metrics.open() as file:
        return [float(row["hard"]) for row in csv.DictReader(file)]


def same(first: RunFolder, second: RunFolder) -> bool:
    one, other = (safetensors.torch.load_file(it.student) for it in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_learns_as_in_float32_goes_on_to_the_bit_and_in_a_cohort(recipe: Make, tmp_path: Path) -> None:
    link = 'links=["group2 : mse, scale=gradient"]'
    given = ("training.epochs=2", "training.batch_size=16", "training.ema=0.5", link)
    half, single, parts = (RunFolder(tmp_path / name) for name in ("half", "single", "parts"))
    result = train(set_up(recipe(HALF, *given, links=True)), half)
    train(set_up(recipe("precision=float32", *given, links=True)), single)
    assert losses_of(half)[1] == pytest.approx(losses_of(single)[1], rel=0.1)
    assert result["link_factors"]["group2 : mse, scale=gradient"] > 0
    with pytest.raises(Interrupted):
        train(set_up(recipe(HALF, *given, links=True)), parts, watch=StopAfter(5))
    scale = parts.read_checkpoint(parts.checkpoint)["learner"]["scale"]
    assert float(scale["factor"]) <= 65536
    train(set_up(recipe(HALF, *given, links=True)), parts, resume=True)
    assert same(half, parts)
    cohort = set_up_cohort([recipe(HALF, *given, links=True), recipe(HALF, *given[:2], links=True)])
    together = [RunFolder(tmp_path / name) for name in ("one", "two")]
    train_cohort(list(zip(cohort, together, strict=True)))
    assert same(half, together[0])
    assert verify_run(half).largest_difference == 0
