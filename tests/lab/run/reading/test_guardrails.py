from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from layerlink.data import ImageSet
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run import member
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.guardrails import Finding, StrictError, copies, findings_before
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.training import train, train_cohort

Make = Callable[..., LoadedRecipe]
WARM = ["training.warmup_epochs=4"]


def replaced(setup: Setup, **parts: ImageSet) -> Setup:
    return dataclasses.replace(setup, images=dataclasses.replace(setup.images, **parts))


def warned(setup: Setup, notes: Any, folder: Path) -> list[str]:
    watch = notes()
    train(setup, RunFolder(folder), watch=watch)
    written = RunFolder(folder).warnings
    assert watch.warnings == (written.read_text().splitlines() if written.exists() else [])
    return list(watch.warnings)


def test_test_images_among_the_others_are_counted(recipe: Make, notes: Any, tmp_path: Path) -> None:
    setup = set_up(recipe("training.epochs=1"))
    images = setup.images
    assert not [text for text in findings_before(setup) if "test images" in text]
    both = torch.cat([images.test.images[:-3], images.train.images[:2], images.validation.images[:1]])
    spoiled = replaced(setup, test=ImageSet(both, images.test.labels, images.test.classes))
    texts = list(findings_before(spoiled))
    share = 100 * 2 / len(both)
    assert any(f"2 of the {len(both)} test images are also among the training images" in text for text in texts)
    assert any(f"too high by {share:.2f} points" in text for text in texts)
    assert any("1 of the" in text and "among the validation images" in text for text in texts)


def test_cifar100_repeats_ten_training_images_in_its_test_set(shared: Path) -> None:
    from layerlink.data import load_source

    source = load_source("cifar100", shared / "data" / "cifar100")
    assert copies(source.train, source.test) == 10  # known of the published files


def test_a_class_without_images_is_named(recipe: Make) -> None:
    setup = set_up(recipe())
    train_set = setup.images.train
    spoiled = replaced(setup, train=train_set.select((train_set.labels != 3).nonzero().flatten()))
    (text,) = findings_before(spoiled)
    assert "1 of 10 classes have no training image: 3." in text


def test_accuracy_at_chance_is_told_with_what_chance_is(recipe: Make, notes: Any, tmp_path: Path) -> None:
    setup = set_up(recipe("training.epochs=1", "training.lr=0.0000001", "training.ema=null"))
    labels = setup.images.validation.labels
    commonest = float(torch.bincount(labels).max()) / len(labels)
    spread = math.sqrt(commonest * (1 - commonest) / len(labels))
    (text,) = warned(setup, notes, tmp_path / "run")
    assert text.startswith("epoch 1: validation accuracy ")
    assert f"chance ({100 * commonest:.1f} % of the images are of the commonest class, sd {100 * spread:.1f})" in text


def test_a_link_that_dominates_is_told_with_its_factor(recipe: Make, notes: Any, tmp_path: Path) -> None:
    loaded = recipe("training.epochs=1", 'links=["group2 : mse * 1e6"]', "soft=null", links=True)
    run = tmp_path / "run"
    texts = [text for text in warned(set_up(loaded), notes, run) if "times all other" in text]
    (row,) = RunFolder(run).read_metrics()
    factor = 1e6 * float(row["group2 : mse * 1e6"]) / float(row["hard"])
    assert factor > 1000
    assert texts == [text for text in texts if f"is {factor:,.0f} times all other weighted losses together" in text]
    assert len(texts) == 1
    strong = int(1e6 * 500 / factor)  # about 500 times the rest: strong, and below the bound
    fine = recipe("training.epochs=1", f'links=["group2 : mse * {strong}"]', "soft=null", links=True)
    assert not [text for text in warned(set_up(fine), notes, tmp_path / "fine") if "times all other" in text]


def test_a_link_that_never_changes_is_told(recipe: Make, notes: Any, tmp_path: Path) -> None:
    class Constant(torch.nn.Module):
        """Its first layer gives the same for every image, and its gradient is 0."""

        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(1, 4)
            self.rest = torch.nn.Linear(32 * 32, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.first(torch.zeros(len(images), 1)) * 0
            out: torch.Tensor = self.rest(images.flatten(1))
            return out

    loaded = recipe(
        "training.epochs=1", "training.batch_size=32", 'links=["first : mse"]', "soft=null", "hard=1e-12", links=True
    )
    teacher = Constant()
    student = Constant()
    with torch.no_grad():
        student.first.weight.zero_()
        student.first.bias.copy_(teacher.first.bias)
        for parameter in student.first.parameters():
            parameter.register_hook(torch.zeros_like)
    texts = warned(set_up(loaded, teacher=teacher, student=student), notes, tmp_path / "run")
    assert any("link 'first : mse' was 0 in all of 8 steps, so it teaches nothing" in text for text in texts)


def test_strict_makes_findings_errors(recipe: Make, notes: Any, tmp_path: Path) -> None:
    loaded = recipe("training.epochs=1", "training.lr=0.0000001", "training.ema=null", "strict=true")
    with pytest.raises(StrictError, match=r"no better than chance.*\(strict: true makes this an error\)"):
        train(set_up(loaded), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run" / "result.json").exists()


def test_strict_drops_one_student_of_a_cohort(
    recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = recipe(links=True).source
    good, bad = load_recipe(source, ["strict=true"]), load_recipe(source, ["training.lr=0.0000001", "strict=true"])
    found = {True: [Finding("slow", "far too slow")], False: []}
    monkeypatch.setattr(member, "findings_after_epoch", lambda setup, *_, **__: found[setup.recipe.training.lr < 1e-3])
    monkeypatch.setattr(member, "findings_before", lambda _setup: [])  # the small teacher is at chance
    runs = [RunFolder(tmp_path / name) for name in ("good", "bad")]
    outcomes = train_cohort(list(zip(set_up_cohort([good, bad]), runs, strict=True)))
    assert isinstance(outcomes[0], dict)
    assert isinstance(outcomes[1], StrictError)
    assert "epoch 1: far too slow" in str(outcomes[1])


def test_chance_is_no_fault_while_the_learning_rate_rises_and_is_told_once(
    recipe: Make, notes: Any, tmp_path: Path
) -> None:
    slow = ["training.lr=0.0000001", "training.ema=null", "training.epochs=5"]
    for name, more, epochs in (("rises", ["training.schedule=one-cycle"], [2, 3, 4, 5]), ("warm", WARM, [4, 5])):
        watch = notes()
        run = RunFolder(tmp_path / name)
        train(set_up(recipe(*slow, *more)), run, watch=watch)
        written = [line for line in run.read_text(run.warnings).splitlines() if "no better than chance" in line]
        assert [int(line.partition("epoch ")[2].partition(":")[0]) for line in written] == epochs
        (told,) = (text for text in watch.warnings if "no better than chance" in text)
        assert told.startswith(f"epoch {epochs[0]}: ")


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [([10.0, 10.0, 10.0], [1, 2, 3]), ([10.0, 40.0, 10.0, 50.0], [1]), ([40.0, 10.0, 10.0], [3]), ([40.0, 50.0], [])],
)
def test_a_single_dip_to_chance_is_no_fault(
    scores: list[float], epochs: list[int], recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter(scores)
    monkeypatch.setattr(member, "validation_score", lambda *_: next(given))
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe(f"training.epochs={len(scores)}", "data.train_images=64")), run, watch=notes())
    told = run.read_text(run.warnings) if run.warnings.exists() else ""
    written = [line for line in told.splitlines() if "no better than chance" in line]
    assert [int(line.partition("epoch ")[2].partition(":")[0]) for line in written] == epochs
