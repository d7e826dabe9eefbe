"""Students that teach each other, by a recipe: against a loop by hand, resumed, in a cohort, reported."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from layerlink.errors import LayerlinkError, ProblemsError
from layerlink.lab.bench.costs import measure_costs
from layerlink.lab.bench.speed import measure_speed
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.report.building import write_report
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import NotFiniteError
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort
from peoples_models import StopAfter

BASE = """
data: {name: digits, image_size: 8, train_images: 200, validation: 100}
student: {model: "peoples_models:plain", arguments: {width: 4}}
training: {epochs: 2, batch_size: 50, lr: 0.05}
precision: float32
"""
TWO = 'peers: {wide: {model: "peoples_models:plain", arguments: {width: 6}}}\nsoft: {temperature: 2, weight: 0.5}\n'
THREE = """
peers:
  wide: {model: "peoples_models:plain", arguments: {width: 6}, links: ["student/body -> body : at", "third/body -> body
      : mse, adapter=conv1x1"]}
  third: {model: "peoples_models:plain", arguments: {width: 4}}
soft: {temperature: 1}
links: ["third/body -> body : mse * 2, until=1", "wide/@output : cosine"]
"""


def recipe(folder: Path, text: str, *overrides: str) -> LoadedRecipe:
    file = folder / "recipe.yaml"
    file.write_text(BASE + text)
    return load_recipe(str(file), overrides)


def same_weights(first: Path, second: Path) -> bool:
    one, other = (safetensors.torch.load_file(it) for it in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_two_that_teach_each_other_end_as_in_a_loop_by_hand(tmp_path: Path) -> None:
    setup, run = (
        set_up(recipe(tmp_path, TWO, "student=peoples_models:batch_norm", "training.keep=last")),
        RunFolder(tmp_path / "run"),
    )
    a, b = (copy.deepcopy(it.distiller.student).train() for it in (setup, setup.peers["wide"]))
    rates = [torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9) for model in (a, b)]
    for epoch in range(2):
        for batch in setup.batches.epoch(epoch):
            outputs = a(batch.images), b(batch.images)
            for own, other, rate in zip(outputs, reversed(outputs), rates, strict=True):
                p = torch.softmax(other.detach() / 2, 1)
                soft = (p * (p.log() - torch.log_softmax(own / 2, 1))).sum(1).mean() * 4
                rate.zero_grad()
                (F.cross_entropy(own, batch.labels) + 0.5 * soft).backward()
                rate.step()
    result = train(setup, run)
    for model, file in ((a, run.student), (b, run.peer("wide"))):
        for name, value in safetensors.torch.load_file(file).items():
            torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-5)
    views = setup.images.views(setup.images.test.images)
    right = 100 * float((b.eval()(views).argmax(1) == setup.images.test.labels).double().mean())
    assert result["peers"]["wide"]["test_accuracy"] == pytest.approx(right, abs=0.3)
    rows = list(csv.DictReader(run.metrics.read_text().splitlines()))
    assert float(rows[-1]["wide_validation_accuracy"]) == result["peers"]["wide"]["validation_accuracy"]


def test_peers_begin_with_weights_of_their_own(tmp_path: Path) -> None:
    setup = set_up(recipe(tmp_path, THREE))
    own, third = (it.distiller.student.head.weight for it in (setup, setup.peers["third"]))
    assert own.shape == third.shape
    assert not torch.equal(own, third)
    again = set_up(recipe(tmp_path, THREE)).peers["third"].distiller.student.head.weight
    assert torch.equal(third, again)
    assert setup.teacher is None  # none is read before the training, or compared with after it


def test_three_with_links_are_resumed_verified_and_the_same_in_a_cohort(tmp_path: Path) -> None:
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    result = train(set_up(recipe(tmp_path, THREE)), whole)
    with pytest.raises(Interrupted):
        train(set_up(recipe(tmp_path, THREE)), parts, watch=StopAfter(6))
    assert len(list(parts.path.glob("best-1*.safetensors"))) == 3
    train(set_up(recipe(tmp_path, THREE)), parts, resume=True)
    cohort = set_up_cohort([recipe(tmp_path, "soft: null"), recipe(tmp_path, THREE)])
    runs = [RunFolder(tmp_path / name) for name in ("labels", "mutual")]
    train_cohort(list(zip(cohort, runs, strict=True)))
    for other in (parts, runs[1]):
        assert same_weights(whole.student, other.student)
        assert all(same_weights(whole.peer(name), other.peer(name)) for name in ("wide", "third"))
    assert not list(parts.path.glob("best-*"))
    assert verify_run(whole).largest_difference == 0
    assert evaluate_run(whole)["test_accuracy"] == result["test_accuracy"]
    told = write_report([tmp_path / "labels", tmp_path / "mutual"], out=tmp_path / "report")
    assert "wide" in told.page.read_text()
    peers = list(csv.DictReader((tmp_path / "report" / "tables" / "peers.csv").read_text().splitlines()))
    assert {(it["row"], it["peer"]) for it in peers} == {("mutual", "wide"), ("mutual", "third")}
    assert float(peers[0]["test_accuracy"]) == json.loads(whole.result.read_text())["peers"]["wide"]["test_accuracy"]


def test_averaged_weights_of_all_are_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    setup = set_up(recipe(tmp_path, TWO, "training.ema=0.9"))
    train(setup, run)
    raw, kept = setup.peers["wide"].distiller.student.state_dict(), safetensors.torch.load_file(run.peer("wide"))
    assert not torch.equal(raw["head.weight"], kept["head.weight"])


class Endless(nn.Module):
    """Its output is infinite from the third training step on."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.seen = nn.Linear(64, 10), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += self.training
        return self.head(x.flatten(1)) * (float("inf") if self.seen > 5 else 1)


def test_where_one_breaks_its_unit_is_dropped_and_others_go_on(tmp_path: Path) -> None:
    text = f'peers: {{odd: "{__name__}:Endless"}}\nsoft: {{}}\n'
    setups = set_up_cohort([recipe(tmp_path, text), recipe(tmp_path, "soft: null")])
    runs = [RunFolder(tmp_path / name) for name in ("mutual", "labels")]
    broken, other = train_cohort(list(zip(setups, runs, strict=True)))
    assert isinstance(broken, NotFiniteError)
    assert not isinstance(other, LayerlinkError)
    assert not runs[0].student.exists()


def test_what_is_wrong_with_any_is_told_with_its_line(tmp_path: Path) -> None:
    wrong = THREE.replace("student/body", "student/bodi").replace("third/body -> body : mse * 2", "wide/bod : mse")
    with pytest.raises(ProblemsError) as caught:
        set_up(recipe(tmp_path, wrong))
    text = str(caught.value)
    assert 'peers.wide.links[0] "student/bodi -> body : at"' in text
    assert 'links[0] "wide/bod : mse, until=1"' in text
    assert text.count("line ") == 3
    with pytest.raises(ProblemsError, match=r"line 10   peers\.third\n.*cannot import"):
        set_up(recipe(tmp_path, THREE.replace("third: {model: ", "third: {model: x")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("peers: {student: vgg7}", "a peer needs another name than student"),
        ("peers: {a b: vgg7}", "a peer's name is of at most 60 letters, digits and _"),
        ("peers: {}", "peers are students by name, one or more"),
        ("peers: {a: vgg7}\nteacher: {model: vgg7}\nsoft: {}", "give teacher or peers, not both"),
        ("peers: {a: vgg7, b: vgg7}\nsoft: {teachers: {a: 1}}", "each learns from the mean of all others"),
        ('peers: {a: vgg7}\nhard: 0\nlinks: ["body : mse"]', "peers.a: nothing to learn from"),
    ],
)
def test_peers_that_cannot_be_meant_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        recipe(tmp_path, text + "\n")
    assert message in str(caught.value)


def test_costs_and_times_count_the_peers(tmp_path: Path) -> None:
    alone, both = (set_up(recipe(tmp_path, text)) for text in ("soft: null", TWO))
    found = measure_costs(both)
    assert found.peers_parameters == sum(p.numel() for p in both.peers["wide"].distiller.student.parameters())
    assert found.student_bytes > 2 * measure_costs(alone).student_bytes
    before = copy.deepcopy(both.distiller.student.state_dict())
    assert "peer wide" in [part.name for part in measure_speed(both).parts]
    assert torch.equal(before["head.weight"], both.distiller.student.state_dict()["head.weight"])
