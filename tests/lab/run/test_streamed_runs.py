"""A run on streamed images is the run on the same images in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from answers import answers_to_the_test
from layerlink.design.export.comparing import read
from layerlink.design.export.subject import subject_of
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.report.measured.maps import shown_maps
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.training import train
from picture_files import write_folder, write_pairs

TEXT = """
data: {{name: folder, root: {root}, image_size: 32, augment: crop-flip, validation: 4, {more}}}
student: {{model: vgg7, arguments: {{width: 0.05, batch_norm: true}}}}
training: {{epochs: 2, batch_size: 5, lr: 0.02}}
precision: float32
"""

MAPS = """
data: {{name: segmentation, root: {root}, image_size: [16, 20], augment: flip, rescale: [0.7, 1.5], {more}}}
task: segmentation
student: {{model: unet, arguments: {{width: 0.125, blocks: 1}}}}
training: {{epochs: 2, batch_size: 5, lr: 0.02, accumulate: {accumulate}}}
precision: float32
"""


def exported_score(run: RunFolder) -> float:
    """Of the student as it is exported."""
    subject = subject_of(run)
    with torch.no_grad():
        return read(subject.answer, subject.test, subject.task)[0].score


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.student)


def test_weights_are_the_same_and_a_stopped_run_goes_on_inside_an_epoch(
    tmp_path: Path, notes: Callable[..., object]
) -> None:
    root = write_folder(tmp_path / "folder")

    def made(more: str) -> Setup:
        return set_up(load_recipe("streamed.yaml", text=TEXT.format(root=root, more=more)))

    expected = RunFolder(tmp_path / "memory")
    train(made("memory_gb: 4"), expected)
    for workers in (0, 2):
        run = RunFolder(tmp_path / f"streamed-{workers}")
        few = f"memory_gb: 0.00001, workers: {workers}"

        def stop() -> None:
            raise Interrupted("asked to")

        with pytest.raises(Interrupted):
            train(made(few), run, watch=notes((1, 2), stop))  # type: ignore[arg-type]
        train(made(few), run, resume=True)
        one, other = weights(run), weights(expected)
        assert all(torch.equal(one[name], other[name]) for name in other)
        mine, theirs = run.read_result(), expected.read_result()
        assert mine["test_accuracy"] == theirs["test_accuracy"]
    assert exported_score(run) == exported_score(expected)


@pytest.mark.parametrize(("partly", "accumulate"), [("", 1), ("labelled: 7, unlabelled: {root}/more", 2)])
def test_maps_of_labels_are_streamed_beside_their_images(
    partly: str, accumulate: int, tmp_path: Path, notes: Callable[..., object]
) -> None:
    root = write_pairs(tmp_path / "folder")
    (root / "more").mkdir()
    for path in (root / "val/images").iterdir():  # images that nobody has labelled
        (root / "more" / path.name).write_bytes(path.read_bytes())

    def made(more: str) -> Setup:
        given = f"{more}, {partly.format(root=root)}" if partly else more
        return set_up(load_recipe("maps.yaml", text=MAPS.format(root=root, more=given, accumulate=accumulate)))

    expected = RunFolder(tmp_path / "memory")
    result = train(made("memory_gb: 4"), expected)
    for workers in (0, 2):
        few, run = f"memory_gb: 0.00001, workers: {workers}", RunFolder(tmp_path / f"streamed-{workers}")

        def stop() -> None:
            raise Interrupted("asked to")

        with pytest.raises(Interrupted):
            train(made(few), run, watch=notes((1, 1), stop))  # type: ignore[arg-type]
        train(made(few), run, resume=True)
        one, other = weights(run), weights(expected)
        assert all(torch.equal(one[name], other[name]) for name in other)
        mine = run.read_result()
        assert (mine["test_miou"], mine["by_class"]) == (result["test_miou"], result["by_class"])
    assert evaluate_run(run)["by_class"] == evaluate_run(expected)["by_class"]
    assert exported_score(run) == exported_score(expected)
    answers = answers_to_the_test(expected)
    shown, there = (shown_maps(made(more), answers) for more in (few, "memory_gb: 4"))
    assert shown is not None
    assert there is not None
    assert torch.equal(shown.truth, there.truth)
    assert torch.equal(shown.images, there.images)
