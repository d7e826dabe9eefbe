"""Recipes with several teachers, with the student's own average, with a teacher that sees images otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from layerlink.errors import ProblemsError
from layerlink.lab.bench.costs import measure_costs
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.report.measured.comparison import measure_rows
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort
from layerlink.measure.flops import count_flops
from layerlink.models import build_model
from peoples_models import StopAfter

BASE = """
data: {name: digits, image_size: 8, train_images: 200, validation: 100}
student: {model: "peoples_models:plain", arguments: {width: 4}}
training: {epochs: 2, batch_size: 50, lr: 0.05}
precision: float32
"""


@pytest.fixture
def weights(tmp_path: Path) -> list[Path]:
    from peoples_models import plain

    found = []
    for seed, width in ((1, 8), (2, 6)):
        torch.manual_seed(seed)
        found.append(tmp_path / f"teacher-{width}.safetensors")
        safetensors.torch.save_file(plain(width).state_dict(), found[-1])
    return found


def recipe(folder: Path, text: str, *overrides: str) -> LoadedRecipe:
    file = folder / "recipe.yaml"
    file.write_text(BASE + text)
    return load_recipe(str(file), overrides)


def several(weights: list[Path]) -> str:
    big, wide = (
        f'{{model: "peoples_models:plain", arguments: {{width: {width}}}, weights: {file}}}'
        for width, file in zip((8, 6), weights, strict=True)
    )
    return (
        f"teachers:\n  big: {big}\n  wide: {wide}\n"
        "soft: {temperature: 2, teachers: {big: 0.7, wide: 0.3}}\n"
        'links: ["big/body -> body : at", "wide/body -> body : mse, adapter=conv1x1"]\n'
    )


def test_several_teachers_go_the_whole_way(tmp_path: Path, weights: list[Path]) -> None:
    run = RunFolder(tmp_path / "run")
    setup = set_up(recipe(tmp_path, several(weights)))
    assert list(setup.teachers) == ["big", "wide"]
    assert measure_costs(setup).teacher_parameters == sum(
        p.numel() for model in setup.teachers.values() for p in model.parameters()
    )
    result = train(setup, run)
    assert not [name for name in result if name.startswith("teacher")]  # of several no single one is meant
    assert verify_run(run).largest_difference == 0
    assert evaluate_run(run)["test_accuracy"] == result["test_accuracy"]
    parts = RunFolder(tmp_path / "parts")
    with pytest.raises(Interrupted):
        train(set_up(recipe(tmp_path, several(weights))), parts, watch=StopAfter(3))
    train(set_up(recipe(tmp_path, several(weights))), parts, resume=True)
    one, other = (safetensors.torch.load_file(it.student) for it in (run, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_cohort_shares_several_teachers(tmp_path: Path, weights: list[Path]) -> None:
    recipes = [recipe(tmp_path, several(weights)), recipe(tmp_path, several(weights), "soft.temperature=3")]
    setups = set_up_cohort(recipes)
    assert setups[0].teachers == setups[1].teachers
    runs = [RunFolder(tmp_path / f"together-{place}") for place in range(2)]
    train_cohort(list(zip(setups, runs, strict=True)))
    alone = RunFolder(tmp_path / "alone")
    train(set_up(recipes[1]), alone)
    one, other = (safetensors.torch.load_file(it.student) for it in (runs[1], alone))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teachers: {a: vgg7}", "teachers are two or more by name"),
        ("teachers: {a: vgg7, b: vgg7}\nteacher: vgg7", "give teacher or teachers, not both"),
        ("teachers: {a b: vgg7, c: vgg7}", "a teacher's name is of at most 60 letters, digits and _"),
        ("teachers: {a: {model: vgg7, store: auto}, b: vgg7}", "of several each batch is computed"),
        ("teachers: {a: ema, b: vgg7}", "the student's own average is a teacher alone"),
        ("teachers: {a: vgg7, b: vgg7}\nsoft: {teachers: {c: 1}}", "soft.teachers: unknown teacher 'c'"),
        ("teacher: {model: ema, store: auto}", "ema is the student's own average"),
        ("teacher: {model: vgg7, normalize: imagenet, mean: [0.5], std: [0.5]}", "give normalize, or mean and std"),
    ],
)
def test_teachers_that_cannot_be_meant_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        recipe(tmp_path, text + "\n")
    assert message in str(caught.value)


def test_the_students_average_teaches_and_is_resumed_to_the_bit(tmp_path: Path) -> None:
    text = 'teacher: {model: ema, arguments: {decay: 0.9}}\nsoft: {temperature: 1}\nlinks: ["body : mse"]\n'
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    result = train(set_up(recipe(tmp_path, text)), whole)
    assert "teacher_test_accuracy" in result
    with pytest.raises(Interrupted):
        train(set_up(recipe(tmp_path, text)), parts, watch=StopAfter(5))
    train(set_up(recipe(tmp_path, text)), parts, resume=True)
    one, other = (safetensors.torch.load_file(it.student) for it in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not [name for name in one if "average" in name]
    cohort = set_up_cohort([recipe(tmp_path, text), recipe(tmp_path, text, "hard=2")])
    runs = [RunFolder(tmp_path / name) for name in "ab"]
    train_cohort(list(zip(cohort, runs, strict=True)))
    found = safetensors.torch.load_file(runs[0].student)
    assert all(torch.equal(one[name], found[name]) for name in one)


def test_a_teacher_sees_the_pixels_and_normalisation_that_it_was_trained_with(
    tmp_path: Path, weights: list[Path]
) -> None:
    teacher = f'{{model: "peoples_models:plain", arguments: {{width: 8}}, weights: {weights[0]}'
    own = set_up(recipe(tmp_path, f"teacher: {teacher}, mean: [0.5], std: [0.25], image_size: 16}}\nsoft: {{}}\n"))
    plain = set_up(recipe(tmp_path, f"teacher: {teacher}}}\nsoft: {{}}\n"))
    pixels = own.images.train.images[:4].float() / 255
    assert own.teacher is not None
    assert plain.teacher is not None
    seen = F.interpolate((pixels - 0.5) / 0.25, size=(16, 16), mode="bilinear")
    expected = plain.teacher.model(seen)
    views = own.images.views(own.images.train.images[:4])
    torch.testing.assert_close(own.teacher.logits(views), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ProblemsError, match=r"teacher.normalize must be 1 numbers, one a channel; got 3"):
        set_up(recipe(tmp_path, f"teacher: {teacher}, normalize: imagenet}}\nsoft: {{}}\n"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_teacher_of_more_pixels_is_looked_at_as_it_sees_them(precision: str, tmp_path: Path) -> None:
    wide = build_model("vgg16", num_classes=10, image_size=64, channels=1, width=0.05, batch_norm=True)
    file, run = tmp_path / "wide.safetensors", RunFolder(tmp_path / "run")
    safetensors.torch.save_file(wide.state_dict(), file)
    text = (
        f"teacher: {{model: vgg16, arguments: {{width: 0.05, batch_norm: true}}, weights: {file}, image_size: 64}}\n"
        'soft: {temperature: 2}\nlinks: ["group1 -> body : at, adapter=auto"]\n'
    )
    loaded = recipe(tmp_path, text, f"precision={precision}", "training.epochs=1")
    train(set_up(loaded), run)
    assert verify_run(run).largest_difference == 0
    gathered = gather([run.path])
    measured = measure_rows(gathered, gathered.rows)
    seen = torch.zeros(1, 1, 64, 64)
    assert measured.teacher.flops == count_flops(wide, seen)
    assert measured.similarity


def test_a_teacher_with_the_normalisation_of_imagenet(tmp_path: Path) -> None:
    teacher = build_model("vgg7", num_classes=2, image_size=32, channels=3, width=0.1)
    file = tmp_path / "teacher.safetensors"
    safetensors.torch.save_file(teacher.state_dict(), file)
    for place in range(24):
        picture = tmp_path / "data" / "ab"[place % 2] / f"{place}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(place).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
    text = (
        f"data: {{name: folder, root: {tmp_path / 'data'}, validation: 4}}\n"
        "student: {model: vgg7, arguments: {width: 0.05}}\n"
        f"teacher: {{model: vgg7, arguments: {{width: 0.1}}, weights: {file}, normalize: imagenet}}\nsoft: {{}}\n"
        "precision: float32\n"
    )
    (tmp_path / "colours.yaml").write_text(text)
    setup = set_up(load_recipe(str(tmp_path / "colours.yaml")))
    assert setup.teacher is not None
    seen = setup.images.train.images.float() / 255
    mean, std = (torch.tensor(it).view(3, 1, 1) for it in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = teacher.eval()((seen - mean) / std)
    found = setup.teacher.logits(setup.images.views(setup.images.train.images))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def trained_already(width: int = 8) -> nn.Module:
    from peoples_models import plain

    torch.manual_seed(5)
    return plain(width)


def test_weights_that_the_callable_has_loaded(tmp_path: Path) -> None:
    text = 'teacher: {model: "peoples_models:seeded_plain", weights: own}\nsoft: {temperature: 2}\n'
    setup = set_up(recipe(tmp_path, text))
    assert torch.equal(setup.teachers[""].head.weight, trained_already().head.weight)
    with pytest.raises(ProblemsError, match="own where its callable has loaded them"):
        set_up(recipe(tmp_path, text.replace(", weights: own", "")))


def test_a_teacher_of_more_pixels_gets_them_from_the_images_and_not_from_the_student_s_view(tmp_path: Path) -> None:
    """The same crop and flip: the student's view is the teacher's, scaled down."""
    for place in range(24):
        picture = tmp_path / "data" / "ab"[place % 2] / f"{place}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(place).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
    file = tmp_path / "teacher.safetensors"
    teacher = build_model("vgg7", num_classes=2, image_size=64, channels=3, width=0.1)
    safetensors.torch.save_file(teacher.state_dict(), file)
    text = (
        f"data: {{name: folder, root: {tmp_path / 'data'}, validation: 4, image_size: 32, augment: crop-flip}}\n"
        "student: {model: vgg7, arguments: {width: 0.05}}\ntraining: {epochs: 1, batch_size: 4, lr: 0.001}\n"
        f"teacher: {{model: vgg7, arguments: {{width: 0.1}}, weights: {file}, mean: [0.5, 0.5, 0.5], "
        "std: [0.25, 0.25, 0.25], image_size: 64}\nsoft: {}\nprecision: float32\n"
    )
    (tmp_path / "pixels.yaml").write_text(text)
    setup = set_up(load_recipe(str(tmp_path / "pixels.yaml")))
    assert setup.images.train.images.shape[-1] == 64
    assert setup.images.views.padding == 8  # as far as 4 of 32
    batch = next(setup.batches.epoch(0))
    large = replace(setup.images.views, image_size=64)(setup.images.train.images[batch.indices], batch.indices, 0)
    assert batch.images.shape[-1] == 32
    assert torch.equal(batch.sizes[64], large)
    scaled = F.interpolate(large, size=(32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(batch.images, scaled, rtol=1e-4, atol=1e-4)
    views = setup.images.views
    pixels = large * torch.tensor(views.std).view(3, 1, 1) + torch.tensor(views.mean).view(3, 1, 1)
    expected = teacher.eval()((pixels - 0.5) / 0.25)
    given = taught_for(setup.taught_by, [setup], batch)
    assert given is not None
    torch.testing.assert_close(given.logits, expected, rtol=1e-4, atol=1e-4)
    plain = replace(views, image_size=64)(setup.images.test.images)
    right = teacher(
        (plain * torch.tensor(views.std).view(3, 1, 1) + torch.tensor(views.mean).view(3, 1, 1) - 0.5) / 0.25
    )
    result = train(setup, RunFolder(tmp_path / "run"))
    share = 100 * float((right.argmax(1) == setup.images.test.labels).double().mean())
    assert result["teacher_test_accuracy"] == pytest.approx(share)
    assert verify_run(RunFolder(tmp_path / "run")).largest_difference == 0
