"""Images without labels beside those of a data set, in memory or streamed."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from layerlink.data import ImageSet, load_source
from layerlink.data.stream.images import StreamedImages, Streaming
from layerlink.data.stream.unlabelled import unlabelled_files, with_unlabelled
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.setup.setup import set_up
from picture_files import files_of, write_folder

BIG, NONE = Streaming(10**9), Streaming(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures") / "folder", train=6, test=3)


@pytest.mark.parametrize("streaming", [BIG, NONE])
def test_they_stand_behind_the_others_with_no_class(streaming: Streaming, folder: Path) -> None:
    source = load_source("folder", folder, size=8, streaming=streaming)
    few = source.train.select(torch.tensor([7, 2]))
    assert isinstance(few, ImageSet)
    joined = with_unlabelled(few, unlabelled_files(folder / "test"), streaming)
    assert isinstance(joined, StreamedImages) == (streaming is NONE)
    assert joined.labels.tolist() == [1, 0, *[-1] * 6]
    expected = load_source("folder", folder, size=8)
    assert torch.equal(joined.images[slice(0, 2)], expected.train.images[torch.tensor([7, 2])])  # type: ignore[attr-defined]
    assert torch.equal(joined.images[slice(2, 8)], expected.test.images)  # type: ignore[attr-defined]
    part = joined.select(torch.tensor([7, 0, 3]))
    assert part.labels.tolist() == [-1, 1, -1]
    assert torch.equal(part.images[slice(0, 3)], joined.images[slice(0, 8)][torch.tensor([7, 0, 3])])


def test_a_recipe_learns_from_them_by_its_teacher(folder: Path, tmp_path: Path) -> None:
    text = f"""
data: {{name: folder, root: {folder}, image_size: 32, validation: 2, unlabelled: {folder / "test"}, memory_gb: MEMORY}}
student: {{model: vgg7, arguments: {{width: 0.05}}}}
teacher: {{model: vgg7, arguments: {{width: 0.05}}, weights: {tmp_path / "t.safetensors"}}}
soft: {{temperature: 2}}
hard: 0
precision: float32
"""
    alone = "\n".join(line for line in text.splitlines() if not line.startswith(("teacher", "soft", "hard")))
    student = set_up(load_recipe("a.yaml", text=alone.replace("MEMORY", "1"))).distiller.student
    state = {name: value.contiguous() for name, value in student.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "t.safetensors")
    for memory, kind in (("1", ImageSet), ("0.00001", StreamedImages)):
        setup = set_up(load_recipe("a.yaml", text=text.replace("MEMORY", memory)))
        assert type(setup.images.train) is kind
        assert setup.images.train.labels.tolist()[-6:] == [-1] * 6
        assert (len(setup.images.train), len(setup.images.validation)) == (16, 2)
        batch = next(iter(setup.batches.epoch(0)))
        losses = setup.distiller(batch.images, batch.labels, indices=batch.indices)
        assert float(losses.total.detach()) == pytest.approx(0, abs=1e-5)  # the student is the teacher


@pytest.mark.parametrize("memory", ["1", "0.00001"])
def test_bad_ones_are_left_out_where_bad_images_are(memory: str, folder: Path, tmp_path: Path) -> None:
    for number, file in enumerate(files_of(folder, "test")):
        (tmp_path / f"{number}.png").write_bytes(file.read_bytes())
    (tmp_path / "2.png").write_bytes(b"no image")
    text = f"""
data: {{name: folder, root: {folder}, image_size: 32, validation: 2, unlabelled: {tmp_path}, memory_gb: {memory}, BAD}}
student: {{model: vgg7, arguments: {{width: 0.05}}}}
"""
    images = set_up(load_recipe("a.yaml", text=text.replace("BAD", "skip_bad: true"))).images
    assert images.train.labels.tolist()[-5:] == [-1] * 5
    assert len(images.train) == 15
    (bad,) = images.bad
    assert "2.png" in bad
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(LayerlinkError, match=r"data\.unlabelled: none of 6 images can be used: .*0\.png"):
        set_up(load_recipe("a.yaml", text=text.replace("BAD", "skip_bad: true")))


def test_images_without_a_class_are_mixed_with_none(folder: Path) -> None:
    text = f"""
data: {{name: folder, root: {folder}, image_size: 32, validation: 2, unlabelled: {folder / "test"}, mixup: 0.2}}
student: {{model: vgg7, arguments: {{width: 0.05}}}}
"""
    with pytest.raises(UsageError, match=r"without a label cannot be mixed.*data\.labelled and data\.unlabelled"):
        set_up(load_recipe("a.yaml", text=text))


def test_what_cannot_be_is_told(folder: Path, tmp_path: Path) -> None:
    train = load_source("folder", folder, size=8).train
    assert isinstance(train, ImageSet)
    with pytest.raises(UsageError, match="is no folder"):
        unlabelled_files(tmp_path / "gone")
    with pytest.raises(UsageError, match="holds no images"):
        unlabelled_files(tmp_path)
    with pytest.raises(LayerlinkError, match=r"more than data\.memory_gb, and the others lie in memory"):
        with_unlabelled(train, unlabelled_files(folder), NONE)
    assert len(files_of(folder, "train")) == 12
