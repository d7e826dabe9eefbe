"""Adapters, trained losses and memories in a run: trained, clipped, checkpointed, averaged, and in no student."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from layerlink.errors import ProblemsError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import losses_of, taught_for
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort
from layerlink.losses import mlkd

Make = Callable[..., LoadedRecipe]
LINKS = (
    'links=["group2 -> group3 : mse, adapter=conv1x1(norm=True)", "group3 : vid * 0.1", '
    '"@output : crd(dim=8, negatives=16) * 0.1", "group4 + group5 : fsp", "@output : dkd(beta=2), warmup=1", '
    '"@output : ctkd * 0.1", "@output : wkd(gamma=1.0) * 0.1"]'
)


def test_a_stopped_run_goes_on_to_the_bit(recipe: Make, notes: Any, tmp_path: Path) -> None:
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    train(set_up(recipe(LINKS, links=True)), straight)
    watch = notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        train(set_up(recipe(LINKS, links=True)), stopped, watch=watch)
    state = stopped.read_checkpoint(stopped.checkpoint)["learner"]
    assert {name for name in state["student"] if "memory" in name} == {
        "parts.2.loss.memory_student",
        "parts.2.loss.memory_teacher",
    }
    assert int(state["student"]["parts.2.loss.steps"]) == 6  # 4 of the first epoch and 2
    assert state["links_ema"] is not None
    train(set_up(recipe(LINKS, links=True)), stopped, resume=True)
    first, second = (safetensors.torch.load_file(run.student) for run in (straight, stopped))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.keys() == set_up(recipe(links=True)).distiller.student.state_dict().keys()
    assert straight.read_metrics()[-1][LINKS.split('"')[3]] == stopped.read_metrics()[-1][LINKS.split('"')[3]]


def test_a_student_of_a_cohort_is_as_if_alone(recipe: Make, tmp_path: Path) -> None:
    alone = RunFolder(tmp_path / "alone")
    train(set_up(recipe(LINKS, links=True)), alone)
    first = set_up(recipe(links=True))
    second = set_up(recipe(LINKS, links=True), teacher=first.taught_by.model if first.taught_by else None)
    runs = [RunFolder(tmp_path / name) for name in ("one", "two")]
    train_cohort([(first, runs[0]), (second, runs[1])])
    found, expected = (safetensors.torch.load_file(run.student) for run in (runs[1], alone))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_parameter_of_a_link_is_trained_clipped_and_averaged(recipe: Make) -> None:
    setup = set_up(recipe(LINKS, "training.link_lr=0.5", "training.link_weight_decay=0.1", links=True))
    learner = Learner(setup)
    own = list(setup.distiller.link_parameters())
    before = [parameter.detach().clone() for parameter in own]
    # conv and norm, vid's three maps and spread, crd's two embeddings, ctkd's temperature
    assert len(own) == 2 + 1 + 4 + 4 + 1
    groups = learner.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.0, 0.1]
    assert [group["lr"] for group in groups] == [0.02, 0.5]
    assert [len(group["params"]) for group in groups][1] == len(own)
    batches = list(setup.batches.epoch(0, 0))
    learner.start_epoch(0)
    for batch in batches[:2]:
        losses = learner.step(batch)
    assert len(losses.terms) == 9
    assert all(not torch.equal(old, new) for old, new in zip(before, own, strict=True))
    averaged = list(learner.links_ema.module.parameters()) if learner.links_ema else []
    assert len(averaged) == len(own)
    assert any(not torch.equal(mean, now) for mean, now in zip(averaged, own, strict=True))
    norm = torch.nn.utils.clip_grad_norm_(setup.distiller.trainable_parameters(), 1e9)
    assert float(norm) >= 0


def test_links_begin_alike_whatever_was_drawn_before(recipe: Make) -> None:
    def first() -> torch.Tensor:
        return next(set_up(recipe(LINKS, links=True)).distiller.link_parameters()).detach()

    one = first()
    torch.rand(7)
    assert torch.equal(one, first())


def test_a_shape_that_does_not_fit_comes_with_the_link_that_does(recipe: Make) -> None:
    with pytest.raises(ProblemsError) as caught:
        set_up(recipe('links=["group2 -> group3 : mse * 3"]', links=True))
    assert "Write: group2 -> group3 : mse * 3, adapter=auto" in str(caught.value)


def test_labels_and_soft_targets_come_and_go_with_their_time(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("hard={weight: 1, from: 1}", "soft.until=2", "links=[]", links=True)), run)
    rows = run.read_metrics()
    assert ["hard" in row and row["hard"] != "" for row in rows] == [False, True, True]
    assert ["soft" in row and row["soft"] != "" for row in rows] == [True, True, False]
    with pytest.raises(ProblemsError, match="nothing is left to learn from at epoch 1"):
        recipe("hard={weight: 1, from: 2}", "soft.until=1", "links=[]", links=True)


def test_the_learning_rate_falls_at_milestones(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("training.schedule=step", "training.milestones=[1, 2]", "training.step_factor=0.5")), run)
    assert [float(row["lr"]) for row in run.read_metrics()] == pytest.approx([0.02, 0.01, 0.005])
    with pytest.raises(ProblemsError, match="each later than the one before"):
        recipe("training.milestones=[3, 2]", "training.schedule=step")
    with pytest.raises(ProblemsError, match="milestones are those of schedule step"):
        recipe("training.milestones=[3]", "training.schedule=cosine")


def test_a_teacher_that_is_shared_has_its_weights_cast_already(recipe: Make) -> None:
    link = 'links=["group2 -> group3 : mse, adapter=auto"]'
    loaded = [recipe("precision=bfloat16", link, f"hard={hard}", links=True) for hard in (1, 2)]
    setups = set_up_cohort(loaded)
    assert [report.parameters for report in setups[1].links] == [13 * 6 + 6]
    batch = next(iter(setups[1].batches.epoch(0, 0)))
    learner = Learner(setups[1])
    learner.start_epoch(0)
    assert bool(learner.step(batch).total.isfinite())


def test_two_views_of_every_image_reach_the_loss_that_asks_for_them(recipe: Make, tmp_path: Path) -> None:
    run, two = RunFolder(tmp_path / "run"), ("data.views=2", "data.augment=crop-flip", 'links=["@output : mlkd * 0.1"]')
    setup = set_up(recipe(*two, links=True))
    batch = next(setup.batches.epoch(0))
    setup.distiller.train()
    losses = losses_of(setup, batch, taught_for(setup.taught_by, [setup], batch))
    with torch.no_grad():
        assert setup.teacher is not None
        expected = mlkd(setup.student.logits(batch.images), setup.teacher.logits(batch.images), views=2)
    assert float(losses.terms["@output : mlkd * 0.1"].detach()) == pytest.approx(float(expected), rel=1e-4)
    train(set_up(recipe(*two, "training.epochs=1", links=True)), run)
    assert verify_run(run).largest_difference == 0
    with pytest.raises(ProblemsError, match="several views of an image are the same without augmentation"):
        recipe("data.views=2", "data.augment=none", links=True)
    with pytest.raises(ProblemsError, match="a store holds one view of every image"):
        recipe(*two, "teacher.store=auto", links=True)
