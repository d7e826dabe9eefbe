"""A training step waits for nothing: counted on the CPU, where what would wait for a GPU is seen as it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run import training
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.faults import LOOK_EVERY
from layerlink.lab.run.learning.mutual import learner_of
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.member import Member
from layerlink.lab.run.resume import Position
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.watch import Watch
from layerlink.teachers import StoredTeacher
from layerlink.transfer import Losses
from waiting import Waits

DATA = "data: {name: digits, image_size: 8, train_images: 208, validation: 100, augment: crop-flip}\n"
MODEL = '{model: "small_net:Small", arguments: {width: 4}}'
STUDENT = f"student: {MODEL}\n"
TRAINING = "training: {epochs: 2, batch_size: 4, lr: 0.01}\nprecision: float32\n"
TEACHER = f"teacher: {MODEL.replace('4', '6')[:-1]}, weights: own}}\nsoft: {{temperature: 2}}\n"
PEERS = f"peers: {{wide: {MODEL.replace('4', '6')}}}\nsoft: {{temperature: 2}}\n"
LINK = "body -> body : mse, adapter=conv1x1"
CASES: dict[str, tuple[str, ...]] = {
    "alone": ("",),
    "alone, adamw": ("training.optimizer=adamw",),
    "alone, ema": ("training.ema=0.9",),
    "alone, clipped": ("training.clip_norm=1",),
    "int8": (TEACHER, "training.int8=true"),
    "soft": (TEACHER,),
    "links": (TEACHER + f'links: ["{LINK}"]\n',),
    "scaled by teacher": (TEACHER + f'links: ["{LINK}, scale=teacher"]\n',),
    "scaled by gradient": (TEACHER + f'links: ["{LINK}, scale=gradient"]\n',),
    "fading, ema of links": (TEACHER + f'links: ["{LINK}, decay=linear, warmup=1"]\n', "training.ema=0.9"),
    "accumulated": (TEACHER + f'links: ["{LINK}, scale=teacher"]\n', "training.accumulate=3", "data.labelled=100"),
    "peers": (PEERS,),
    "float16": (TEACHER + f'links: ["{LINK}, scale=gradient"]\n', "precision=float16", "training.clip_norm=1"),
    "bfloat16": (TEACHER + f'links: ["{LINK}"]\n', "precision=bfloat16"),
}


class Patched(nn.Module):
    """Reads a value in its forward pass, as models of people do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(x.flatten(1))
        return scores / max(scores.detach().abs().max().item(), 1.0)


def recipes(folder: Path, *given: str, student: str = STUDENT) -> LoadedRecipe:
    text = next((it for it in given if "\n" in it), "")
    path = folder / "recipe.yaml"
    path.write_text(DATA + student + text + TRAINING)
    return load_recipe(str(path), [it for it in given if it and "\n" not in it])


def members_of(folder: Path, loaded: list[LoadedRecipe]) -> list[Member]:
    setups = set_up_cohort(loaded)
    learners = [learner_of(setup) for setup in setups]
    for learner in learners:
        learner.start_epoch(0)
    return [
        Member(setup, RunFolder(folder / str(at)), learner, Position())
        for at, (setup, learner) in enumerate(zip(setups, learners, strict=True))
    ]


def waits(members: list[Member], watch: Watch | None = None) -> Iterator[Waits]:
    """What every step of an epoch waits for."""
    first = members[0].setup
    for batch in first.batches.epoch(0):
        with Waits() as seen:
            members = training.learn(members, batch, first.taught_by, watch or Watch())
        yield seen


def check(members: list[Member], first: int = 1) -> None:
    steps = list(waits(members))
    assert len(steps) == 52
    for number, seen in enumerate(steps[first:], first + 1):
        if number % LOOK_EVERY and number < len(steps):
            assert seen.total == 0, (number, seen.places)
        else:
            assert seen.counts == {"tolist": 1}, (number, seen.places)


@pytest.mark.parametrize("case", CASES)
def test_no_step_waits_and_one_look_is_taken_in_fifty(case: str, tmp_path: Path) -> None:
    check(members_of(tmp_path, [recipes(tmp_path, *CASES[case])]))


STORED = TEACHER.replace("weights: own", "weights: own, store: {root: ROOT}") + f'links: ["{LINK}"]\n'
AUGMENTED = {
    "crop-flip": ("data.augment=crop-flip",),
    "resized, coloured, erased": ("data.resized_crop=[0.3, 1.0]", "data.colour=0.3", "data.cutout=0.5"),
    "randaugment": ("data.randaugment=[2, 9]",),
    "randaugment and mixed": ("data.randaugment=[2, 9]", "data.mixup=0.4", "data.cutmix=1.0"),
}


@pytest.mark.parametrize("case", AUGMENTED)
def test_no_batch_waits_to_be_made(case: str, tmp_path: Path) -> None:
    """On the host it is known which views have which operation, and what they are mixed with."""
    (member,) = members_of(tmp_path, [recipes(tmp_path, *AUGMENTED[case])])
    coming = member.setup.batches.epoch(0)
    next(coming)
    for _ in range(3):
        with Waits() as seen:
            next(coming)
        # Arrays of the host become tensors, which a GPU copies by itself; nothing is read.
        assert seen.counts.keys() <= ({"lift_fresh", "numpy"} if "randaugment" in case else set()), seen.places


def test_nor_does_what_is_read_of_a_store_wait(tmp_path: Path) -> None:
    """Rows are asked for by places that the host knows, and are copied beside the device's work."""
    loaded = recipes(tmp_path, STORED.replace("ROOT", str(tmp_path / "stores")), "data.augment=none")
    (member,) = members_of(tmp_path, [loaded])
    teacher = CohortTeacher([member.setup], Watch()).at(0, [member.setup])
    assert isinstance(teacher, StoredTeacher)
    for batch in islice(member.setup.batches.epoch(0), 2):
        unreadable = replace(batch, indices=batch.indices.to("meta"))  # a device that gives no value to the host
        taught = taught_for(teacher, [member.setup], unreadable)
        live = taught_for(member.setup.taught_by, [member.setup], batch)
        assert taught is not None
        assert live is not None
        assert taught.values.keys() == live.values.keys()
        for tap, value in taught.values.items():
            assert torch.allclose(value.float(), live.values[tap], atol=0.02)


def test_nor_does_a_cohort_whose_students_are_looked_at_together(tmp_path: Path) -> None:
    rows = [recipes(tmp_path, *CASES["links"]), recipes(tmp_path, *CASES["scaled by gradient"], "training.ema=0.9")]
    check(members_of(tmp_path, rows))


def test_what_is_measured_once_is_read_in_the_first_step(tmp_path: Path) -> None:
    first = next(waits(members_of(tmp_path, [recipes(tmp_path, *CASES["scaled by gradient"])])))
    assert first.counts == {"is_nonzero": 1} or first.counts == {"_local_scalar_dense": 1}
    assert next(waits(members_of(tmp_path, [recipes(tmp_path, *CASES["links"])]))).total == 0


def test_a_reading_anywhere_in_a_step_is_counted(tmp_path: Path) -> None:
    model = f'student: {{model: "{__name__}:Patched"}}\n'
    steps = list(waits(members_of(tmp_path, [recipes(tmp_path, "", student=model)])))
    assert all(seen.counts["_local_scalar_dense"] == 1 for seen in steps)


@pytest.mark.parametrize(
    "reading",
    [
        lambda loss: loss.item(),
        float,
        bool,
        lambda loss: loss.tolist(),
        lambda loss: loss.cpu().numpy(),
        lambda loss: loss.reshape(1).nonzero(),
        lambda loss: loss.reshape(1)[loss.reshape(1) > 0],
        lambda loss: loss.new_tensor(3.0),
        lambda loss: torch.tensor([1.0], device=loss.device),
        lambda loss: f"{loss:.3f}",
    ],
)
def test_every_way_to_wait_is_seen(reading: Callable[[Tensor], object]) -> None:
    loss = torch.randn(())
    with Waits() as seen:
        loss * 2
    assert seen.total == 0
    with Waits() as seen:
        reading(loss)
    assert seen.total >= 1


def test_a_watch_that_reads_every_loss_is_seen(tmp_path: Path) -> None:
    class Reading(Watch):
        def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
            str(losses)

    steps = list(waits(members_of(tmp_path, [recipes(tmp_path, "")]), Reading()))
    assert all(seen.total for seen in steps)
