"""Several batches an update against one batch of their size, and against gradients by another route."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import Learner, NotFiniteError
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort
from layerlink.lab.run.watch import Watch
from layerlink.transfer import Losses

NET = f'model: "{__name__}:Small"'
TEACHER = f"teacher: {{{NET}, arguments: {{width: 6}}, weights: own}}\nsoft: {{temperature: 2}}\n"
LINK = 'links: ["body -> body : mse, adapter=conv1x1"]\n'


class Small(nn.Module):
    """Without batch normalisation, whose statistics are those of a batch."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, width, 3, padding=1), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(x).relu().mean((2, 3)))
        return scores


def recipe(batch: int, accumulate: int, *more: str, images: int = 44, epochs: int = 2, data: str = "") -> LoadedRecipe:
    text = (
        f"data: {{name: digits, image_size: 8, train_images: {images}, validation: 40, augment: flip{data}}}\n"
        f"student: {{{NET}}}\n{TEACHER}{LINK}"
        f"training: {{epochs: {epochs}, batch_size: {batch}, accumulate: {accumulate}, lr: 0.05, "
        "schedule: one-cycle}\n"
        "precision: float32\n"
    )
    return load_recipe("r.yaml", more, text=text)


def trained(loaded: LoadedRecipe, folder: Path, **how: Any) -> dict[str, Tensor]:
    train(set_up(loaded), RunFolder(folder), **how)
    return load_file(folder / "student.safetensors")


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("training.clip_norm=0.1", "training.optimizer=adamw", "training.ema=0.9"),
        ("data.labelled=20",),
    ],
)
def test_four_batches_an_update_are_one_of_four_times_the_size(tmp_path: Path, more: tuple[str, ...]) -> None:
    # 44 images are two updates of 16 and one of 12: the last has three batches of 4.
    alike(trained(recipe(4, 4, *more), tmp_path / "a"), trained(recipe(16, 1, *more), tmp_path / "b"))
    rows = [(tmp_path / it / "metrics.csv").read_text().splitlines()[1].split(",")[1] for it in "ab"]
    if not more:
        assert float(rows[0]) == pytest.approx(float(rows[1]), rel=1e-5)  # the mean of the hard loss


def test_labels_that_are_not_known_count_nothing() -> None:
    """Each image's gradient by itself, put together by hand over all labels that are known."""
    setup = set_up(recipe(4, 3, "soft=null", "links=[]", "teacher=null", "data.labelled=9", images=22))
    group = next(setup.batches.epoch(0)).together
    labels = torch.cat([batch.labels for batch in group])
    counts = [int((batch.labels != setup.task.unlabelled).sum()) for batch in group]  # type: ignore[attr-defined]
    assert len(set(counts)) > 1  # so that images alone would weigh them otherwise
    images = torch.cat([batch.images for batch in group if isinstance(batch.images, Tensor)])
    known = labels != setup.task.unlabelled  # type: ignore[attr-defined]
    model = setup.distiller.student
    loss = nn.functional.cross_entropy(model(images[known]), labels[known])
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    learner = Learner(setup)
    found: list[Tensor] = []
    update = learner.update

    def spied(stopped: Tensor | None = None) -> None:
        found.extend(it.grad.clone() for it in model.parameters() if it.grad is not None)
        update(stopped)

    learner.update = spied  # type: ignore[method-assign]
    for batch in setup.batches.epoch(0):
        learner.step(batch)
        if batch.ends_update:
            break
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_rate_follows_the_updates() -> None:
    learner = Learner(set_up(recipe(4, 4)))
    rates = []
    for batch in learner.setup.batches.epoch(0):
        learner.step(batch, None if learner.setup.taught_by is None else _taught(learner, batch))
        rates.append(learner.lr)
    assert len(rates) == 11
    assert rates[:3] == [0.0] * 3  # nothing was updated yet
    assert len(set(rates[3:])) == 3  # steps 4, 8 and 11 end an update


def _taught(learner: Learner, batch: Any) -> Any:
    from layerlink.lab.run.learning.step import taught_for

    return taught_for(learner.setup.taught_by, [learner.setup], batch)


HALF = ("precision=float16", "data.augment=none")


def gradients_at(learner: Learner) -> list[list[Tensor]]:
    """Grows by the gradients of every update, as they are before it divides them by the scale."""
    every: list[list[Tensor]] = []
    update = learner.update

    def spied(stopped: Tensor | None = None) -> None:
        assert learner.scale is not None
        parameters = learner.distiller.trainable_parameters()
        every.append([it.grad / learner.scale.factor for it in parameters if it.grad is not None])
        update(stopped)

    learner.update = spied  # type: ignore[method-assign]
    return every


def test_in_float16_gradients_are_those_of_the_whole_to_its_rounding() -> None:
    """Every batch's are rounded to 11 bits before they are added up: 5e-4 of the norm each, 3e-3 with the maps'."""
    found = []
    for batch, accumulate in ((4, 4), (16, 1)):
        learner = Learner(set_up(recipe(batch, accumulate, *HALF, "data.labelled=20")))
        assert learner.scale is not None
        learner.scale.factor.fill_(256.0)  # none overflows
        found.append(gradients_at(learner))
        for step in learner.setup.batches.epoch(0):
            learner.step(step, _taught(learner, step))
        assert float(learner.scale.factor) == 256
        assert int(learner.scale.state_dict()["well"]) == 3  # it counts updates: 16 images, 16 and 12
    for one, other in zip(*(every[0] for every in found), strict=True):  # weights are the same until the first update
        assert float((one - other).norm() / other.norm()) < 3e-3


def test_in_float16_a_run_is_that_of_the_whole_and_goes_on_inside_an_update_to_the_bit(tmp_path: Path) -> None:
    loaded = recipe(4, 4, *HALF, "training.ema=0.9")
    several, whole = trained(loaded, tmp_path / "a"), trained(recipe(16, 1, *HALF, "training.ema=0.9"), tmp_path / "b")
    start = Learner(set_up(loaded)).distiller.student.state_dict()
    for name, value in several.items():
        assert float((value - whole[name]).norm() / (whole[name] - start[name]).norm()) < 5e-3, name
    assert verify_run(RunFolder(tmp_path / "a")).largest_difference == 0
    with pytest.raises(Interrupted):
        trained(loaded, tmp_path / "c", watch=Stopping())
    resumed = trained(loaded, tmp_path / "c", resume=True)
    assert all(torch.equal(value, several[name]) for name, value in resumed.items())


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_in_float16_an_overflow_in_one_batch_leaves_its_whole_update_out(at: int, optimizer: str) -> None:
    learner = Learner(set_up(recipe(4, 4, *HALF, f"training.optimizer={optimizer}")))
    assert learner.scale is not None
    steps, seen = list(learner.setup.batches.epoch(0)), [0]

    def huge(gradient: Tensor) -> Tensor:
        seen[0] += 1
        return gradient * (math.inf if seen[0] == 4 + at + 1 else 1)

    def now() -> list[Tensor]:
        state = learner.optimizer.state_dict()["state"]
        values = [*learner.distiller.trainable_parameters(), *(it for one in state.values() for it in one.values())]
        return [it.detach().clone() for it in values if isinstance(it, Tensor)]

    next(learner.distiller.student.parameters()).register_hook(huge)  # type: ignore[no-untyped-call]
    learner.scale.factor.fill_(256.0)
    factors, states = [], [now()]
    for step in steps:
        learner.step(step, _taught(learner, step))
        factors.append(float(learner.scale.factor))
        states.append(now())
    assert factors == [256.0] * 7 + [128.0] * 4  # once, with the second update
    assert all(torch.equal(one, other) for one, other in zip(states[8], states[4], strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(states[4], states[0], strict=False))
    assert not all(torch.equal(one, other) for one, other in zip(states[11], states[8], strict=True))
    learner.check_finite()  # it is no fault
    learner.check_weights()


class Stopping(Watch):
    """Sends the process a signal in the middle of an update."""

    def step(self, epoch: int, step: int, count: int, losses: Losses) -> None:
        if (epoch, step) == (1, 5):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_that_is_stopped_inside_an_update_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    loaded = recipe(4, 4, "training.ema=0.9")
    with pytest.raises(Interrupted):
        trained(loaded, tmp_path / "a", watch=Stopping())
    resumed = trained(loaded, tmp_path / "a", resume=True)
    whole = trained(loaded, tmp_path / "b")
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_a_fault_is_told_at_its_step_and_nothing_of_its_update_is_learnt() -> None:
    setup = set_up(recipe(4, 4, "soft=null", "links=[]", "teacher=null"))
    learner = Learner(setup)
    before = {name: value.clone() for name, value in setup.distiller.student.state_dict().items()}
    for batch in setup.batches.epoch(0):
        if batch.step == 1:
            assert isinstance(batch.images, Tensor)
            batch.images.fill_(float("nan"))
        learner.step(batch)
    with pytest.raises(NotFiniteError, match=r"epoch 1, step 2: hard = nan is not a finite number") as error:
        learner.check_finite()
    assert error.value.place == (0, 1)
    assert all(torch.equal(value, before[name]) for name, value in setup.distiller.student.state_dict().items())


def test_students_of_a_cohort_learn_as_if_alone(tmp_path: Path) -> None:
    both = [recipe(4, 4), recipe(4, 4, "links=[]")]
    train_cohort([(it, RunFolder(tmp_path / str(n))) for n, it in enumerate(set_up_cohort(both))])
    for n, loaded in enumerate(both):
        alone = trained(loaded, tmp_path / f"alone{n}")
        together = load_file(tmp_path / str(n) / "student.safetensors")
        assert all(torch.equal(value, together[name]) for name, value in alone.items())
