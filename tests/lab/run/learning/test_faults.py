"""The first faulty step: found, remembered, its update left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerlink.data import Batch
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.optimizers import OPTIMIZERS
from layerlink.lab.run import training
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.faults import LOOK_EVERY, MOST_NOTES, Fault, Faults, look_at
from layerlink.lab.run.learning.learner import Learner, NotFiniteError
from layerlink.lab.run.learning.update import Update
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.transfer import Losses

Make = Callable[..., LoadedRecipe]
FUSED = ("sgd", "adam", "adamw", "adagrad")


def batch(step: int, epoch: int = 0) -> Batch:
    return Batch(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), torch.arange(2), epoch, step)


def losses(hard: float, soft: float = 1.0, logits: Tensor | None = None, weight: float = 1.0) -> Losses:
    terms = {"hard": torch.tensor(hard), "soft": torch.tensor(soft)}
    return Losses(terms, {"hard": 1.0, "soft": weight}, terms["hard"] + weight * terms["soft"], logits)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_of_several_faulty_steps_is_remembered_with_its_terms(value: float) -> None:
    faults = Faults()
    flags = [faults.note(losses(1.0, it), batch(step, 3)) for step, it in enumerate((1.0, value, 1.0, math.nan))]
    assert [float(flag) for flag in flags] == [0, 1, 1, 1]
    fault = faults.look()
    assert fault is not None
    assert (fault.epoch, fault.step, fault.term) == (3, 1, "soft")
    assert str(fault) == f"epoch 4, step 2: soft = {value} is not a finite number"
    faults.note(losses(math.nan), batch(9))
    assert faults.look() is fault


def test_a_look_forgets_what_was_well_and_sees_what_comes_after() -> None:
    faults = Faults()
    assert faults.look() is None
    for step in range(3):
        faults.note(losses(1e38), batch(step))
    assert faults.look() is None
    faults.note(losses(math.inf), batch(7, 1))
    assert faults.look() == Fault(1, 7, {"hard": math.inf}, ())


def test_outputs_that_are_no_numbers_are_named() -> None:
    faults, taught = Faults(), Activations(torch.tensor([[1.0, math.inf]]), {Tap("layer"): torch.tensor(math.nan)})
    taught.values[Tap("", of="big")] = torch.tensor([math.nan])
    faults.note(losses(math.nan, logits=torch.tensor([[0.0, -math.inf], [0.0, 0.0]])), batch(0), taught)
    whose = "the logits of the student, the logits of the teacher and the teacher's big/@output"
    assert str(faults.look()) == f"epoch 1, step 1: hard = nan is not a finite number (neither are {whose})"


def test_a_sum_that_overflows_while_its_terms_do_not_is_told_as_the_sum() -> None:
    faults = Faults()
    faults.note(losses(3e38, 3e38), batch(2))
    fault = faults.look()
    assert fault is not None
    assert fault.term == "the weighted sum"
    assert str(fault) == "epoch 1, step 3: the weighted sum is not a finite number"


def test_float64_is_not_narrowed() -> None:
    faults, value = Faults(), torch.tensor(1e300, dtype=torch.float64)
    faults.note(Losses({"hard": value}, {"hard": 1.0}, value, None), batch(0))
    assert faults.look() is None


def test_units_are_looked_at_together_and_whoever_never_looks_is_looked_at() -> None:
    well, ill = Faults(), Faults()
    for step in range(MOST_NOTES + 5):
        well.note(losses(1.0), batch(step))
    assert len(well._notes) == 5
    ill.note(losses(math.nan), batch(0))
    assert [fault is None for fault in look_at([well, ill, Faults()])] == [True, False, True]


def trained(name: str, found: list[float], *, back: bool = False) -> tuple[list[Tensor], dict[str, Any]]:
    """Weights and state after steps of which some are left out."""
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(4, 3, generator=generator)), nn.Parameter(torch.randn(3, generator=generator))]
    given = {"momentum": 0.9, "weight_decay": 0.01} if name == "sgd" else {}
    optimizer = OPTIMIZERS[name](weights, lr=0.1, **given, **({"fused": True} if name in FUSED and not back else {}))
    update = Update(optimizer)
    for flag in found:
        gradients = [torch.randn(it.shape, generator=generator) for it in weights]
        if flag == 2:  # does not happen at all
            continue
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient * (math.nan if flag else 1)
        if back:
            update.step_or_back(torch.tensor(float(flag)))
        else:
            update.step(torch.tensor(float(flag)))
    return [it.detach() for it in weights], optimizer.state_dict()["state"]


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("back", [False, True])
def test_a_step_that_is_left_out_leaves_weights_and_state_as_they_were(name: str, back: bool) -> None:
    (weights, state), (expected, wanted) = (trained(name, [0, 0, it, 0], back=back) for it in (1.0, 2.0))
    assert all(torch.equal(one, other) for one, other in zip(weights, expected, strict=True))
    for number, values in wanted.items():
        for key, value in values.items():
            same = torch.equal(state[number][key], value) if isinstance(value, Tensor) else state[number][key] == value
            assert same, (number, key)


def weights_of(learner: Learner) -> list[Tensor]:
    return [it.detach().clone() for it in learner.distiller.student.parameters()]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_after_a_faulty_step_a_student_learns_nothing_more(recipe: Make, optimizer: str) -> None:
    setup = set_up(recipe(f"training.optimizer={optimizer}", "training.clip_norm=1", links=True))
    learner = Learner(setup)
    learner.start_epoch(0)
    one, two, three, _ = setup.batches.epoch(0)
    learner.step(one)
    learner.check_finite()
    before, state = weights_of(learner), learner.optimizer.state_dict()["state"]
    state = {number: {key: value.clone() for key, value in it.items()} for number, it in state.items()}
    bad = two.images.clone()
    bad[0, 0, 0, 0] = math.nan
    learner.step(Batch(bad, two.labels, two.indices, two.epoch, two.step))
    learner.step(three)
    assert all(torch.equal(one, other) for one, other in zip(before, weights_of(learner), strict=True))
    for number, it in learner.optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, state[number][key]) for key, value in it.items())
    with pytest.raises(NotFiniteError, match=r"^epoch 1, step 2: hard = nan, soft = nan, group2 : mse \* 2 = nan"):
        learner.check_finite()


def test_the_run_ends_at_the_next_look_and_names_the_step(
    recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = set_up(recipe("training.batch_size=4", "training.epochs=1"))
    steps: list[int] = []

    def poison() -> None:
        with torch.no_grad():
            setup.distiller.student.output.bias[0] = math.nan

    watch = notes((0, 6), poison)
    inner = watch.step
    monkeypatch.setattr(watch, "step", lambda *given: (steps.append(given[1]), inner(*given)))
    with pytest.raises(NotFiniteError, match="epoch 1, step 8: hard = nan") as caught:
        train(setup, RunFolder(tmp_path / "run"), watch=watch)
    assert len(setup.batches) > LOOK_EVERY
    assert steps[-1] == LOOK_EVERY - 1
    fault = caught.value.fault
    assert fault is not None
    assert (fault.epoch, fault.step, fault.term, fault.whose) == (0, 7, "hard", ("the logits of the student",))


def test_a_checkpoint_within_an_epoch_is_not_written_of_a_faulty_student(
    recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, run = set_up(recipe("training.batch_size=8", "training.epochs=1")), RunFolder(tmp_path / "run")
    seen = [0]

    def spoil(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        seen[0] += module.training
        return inputs[0] * (math.nan if seen[0] == 3 else 1)

    def overdue() -> None:
        monkeypatch.setattr(training.Saving, "overdue", lambda self: True)

    setup.distiller.student.register_forward_pre_hook(spoil)
    with pytest.raises(NotFiniteError, match="epoch 1, step 3"):
        train(setup, run, watch=notes((0, 4), overdue))
    assert not run.checkpoints


def test_a_teacher_s_layer_that_overflows_is_named(recipe: Make, tmp_path: Path) -> None:
    setup = set_up(recipe("soft=null", links=True))
    with torch.no_grad():
        setup.distiller.teacher.model.group5[0][1].bias.fill_(math.inf)
    with pytest.raises(NotFiniteError) as caught:
        train(setup, RunFolder(tmp_path / "run"))
    assert "neither are the teacher's group5)" in str(caught.value)
    assert OUTPUT not in setup.distiller.wanted
