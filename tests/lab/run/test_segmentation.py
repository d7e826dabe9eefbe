"""Folders of images with maps of labels, and mixed views: from a recipe to a report."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from answers import answers_to_the_test
from layerlink.data.preprocessing import Preprocessing
from layerlink.errors import ProblemsError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.report.building import write_report
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.trained import trained
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch
from layerlink.tasks import Segmentation
from layerlink.transfer import Losses

HEIGHT, WIDTH = 24, 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright half, left or right, of dark images: two classes, and a border that does not count."""
    folder, draw = tmp_path_factory.mktemp("halves"), np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 6), ("test", 6)):
        for name in ("images", "labels"):
            (folder / part / name).mkdir(parents=True)
        for n in range(count):
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            labels[:, slice(0, WIDTH // 2) if n % 2 else slice(WIDTH // 2, None)] = 1
            pixels = labels[:, :, None] * 150 + draw.integers(0, 60, (HEIGHT, WIDTH, 3))
            labels[0] = 9
            Image.fromarray(pixels.astype(np.uint8)).save(folder / part / f"images/{n:02}.png")
            Image.fromarray(labels).save(folder / part / f"labels/{n:02}.png")
    (folder / "classes.txt").write_text("dark\nbright\n")
    return folder


def recipe(root: Path, *overrides: str, student: str = "width: 0.125, blocks: 1") -> LoadedRecipe:
    file = root / "recipe.yaml"
    file.write_text(
        f"""
data:
  {{name: segmentation, root: {root}, image_size: [{HEIGHT}, {WIDTH}], augment: flip, rescale: [0.7, 1.5], cutmix: 1}}
task: {{name: segmentation, arguments: {{ignore: 9}}}}
student: {{model: unet, arguments: {{{student}}}}}
training: {{epochs: 2, batch_size: 6, optimizer: adamw, lr: 0.01, schedule: constant}}
precision: float32
"""
    )
    return load_recipe(str(file), overrides)


class StopsInside(Watch):
    """Asks for a stop in the middle of the second epoch."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        if (epoch, step) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_folder_of_maps_goes_the_whole_way(root: Path, tmp_path: Path) -> None:
    teacher = RunFolder(tmp_path / "teacher")
    result = train(set_up(recipe(root, "training.epochs=4", student="width: 0.25, blocks: 1")), teacher)
    assert result["test_miou"] > 80
    taught = (f"teacher={{model: unet, arguments: {{width: 0.25, blocks: 1}}, weights: {teacher.path}}}", "soft={}",
              'links=["up1 : mse, adapter=auto"]')  # fmt: skip
    run = RunFolder(tmp_path / "runs/student")
    result = train(set_up(recipe(root, *taught)), run)
    answers = answers_to_the_test(run)
    setup = set_up(recipe(root))
    truth = setup.images.test.labels
    known = truth != 9
    expected = 100 * jaccard_score(truth[known].numpy(), answers[known].numpy(), average=None)
    assert list(result["by_class"]) == ["dark", "bright"]
    assert np.allclose(list(result["by_class"].values()), expected)
    assert result["test_miou"] == pytest.approx(expected.mean())
    assert set(result["teacher_by_class"]) == {"dark", "bright"}
    assert evaluate_run(run)["by_class"] == result["by_class"]
    written = json.loads(run.data.read_text())
    assert written["image_size"] == [HEIGHT, WIDTH]
    use = trained(run)
    assert use.preprocessing.image_size == (HEIGHT, WIDTH)
    image = use.preprocessing.read(root / "test/images/00.png")
    assert image.shape == (3, HEIGHT, WIDTH)
    with torch.no_grad():
        again = use.model(use.preprocessing(image[None])).argmax(1)[0]
    assert float((again == answers[0]).float().mean()) > 0.99  # the run's memory format differs
    report = write_report([tmp_path / "runs"], measure=1)
    page = report.page.read_text()
    assert page.count("data:image/png;base64,") == 4 * 4  # image, truth, teacher, student
    assert "Class by class" in page
    rows = (report.page.parent / "tables/classes.csv").read_text().splitlines()
    assert rows[0].startswith("class,teacher,student")
    assert float(rows[1].split(",")[2]) == pytest.approx(expected[0])


def test_resumed_inside_a_mixed_training_the_bits_are_the_same(root: Path, tmp_path: Path) -> None:
    whole, halves = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "halves")
    train(set_up(recipe(root)), whole)
    with pytest.raises(Interrupted):
        train(set_up(recipe(root)), halves, watch=StopsInside())
    assert not halves.result.exists()
    train(set_up(recipe(root)), halves, resume=True)
    assert whole.student.read_bytes() == halves.student.read_bytes()


def test_what_cannot_be_mixed_is_told_with_its_line(root: Path) -> None:
    with pytest.raises(ProblemsError, match="a pixel of two images has two classes: of maps of labels only cutmix"):
        set_up(recipe(root, "data.mixup=0.2"))


def test_a_loss_of_one_class_and_mixed_views_do_not_go_together(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "data: {name: digits, mixup: 0.2}\nteacher: {model: resnet8, weights: own}\nstudent: resnet8\n"
        'links: ["@output : dkd", "layer1 : mse"]\n'
    )
    with pytest.raises(ProblemsError, match="dkd needs one class of every image, and with mixup a view has two"):
        set_up(load_recipe(str(file)), teacher=None)
    file.write_text("data: {name: digits, mixup: 0.2, labelled: 100}\nstudent: resnet8\n")
    with pytest.raises(ProblemsError, match="an image without a label cannot be mixed with another"):
        set_up(load_recipe(str(file)))


def test_the_score_of_each_class_is_none_where_it_is_nowhere() -> None:
    task = Segmentation(ignore=9)
    logits = torch.nn.functional.one_hot(torch.tensor([[[0, 1], [1, 1]]]), 3).permute(0, 3, 1, 2).float()
    found = task.by_class(task.judge(logits, torch.tensor([[[0, 1], [0, 9]]])))
    assert found == [pytest.approx(50.0), pytest.approx(50.0), None]


def test_preprocessing_says_sizes_that_are_not_square() -> None:
    how = Preprocessing((96, 128), (0.5,) * 3, (0.2,) * 3)
    assert how.facts()["image_size"] == [96, 128]
    assert Preprocessing.of(how.facts()) == how
    assert how(torch.zeros(1, 3, 50, 60, dtype=torch.uint8)).shape == (1, 3, 96, 128)
    with pytest.raises(ValueError, match=r"image_size must be a whole number in 1\.\.4096"):
        Preprocessing.of({**how.facts(), "image_size": [96, 0]})
