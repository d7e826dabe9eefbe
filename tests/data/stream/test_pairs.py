"""Streamed images with maps of labels are those that lie in memory, bit by bit, whoever decodes them."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layerlink.data import Batches, Examples, ImageSet, Source, Views, load_source
from layerlink.data.augment import Mixing
from layerlink.data.augment.augmentation import Augmentation
from layerlink.data.formats.label_map import Labels, read_label_map
from layerlink.data.sources import segmentation
from layerlink.data.stream import pairs as reading_pairs
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.maps import StreamedPairs
from layerlink.errors import LayerlinkError
from picture_files import write_pairs

SIZE = (20, 24)
VIEWS = Views((16, 20), (0.1, 0.2, 0.3), (1.0, 0.5, 0.25), "flip", 3, ignore=255, more=Augmentation(rescale=(0.7, 1.5)))
PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "folder")


def loaded(root: Path, streaming: Streaming | None, skip_bad: bool = False, **arguments: object) -> Source:
    given = {"size": SIZE, "cache": root.parent / "cache", "skip_bad": skip_bad, "arguments": arguments}
    return load_source("segmentation", root, streaming=streaming, **given)  # type: ignore[arg-type]


def streamed(root: Path, workers: int = 0, **more: object) -> Source:
    return loaded(root, Streaming(1, workers), **more)  # type: ignore[arg-type]


def in_memory(root: Path, **more: object) -> Source:
    return loaded(root, None, **more)  # type: ignore[arg-type]


def pairs(examples: Examples | None) -> StreamedPairs:
    assert isinstance(examples, StreamedPairs)
    return examples


def assert_same(one: Source, other: Source) -> None:
    for part in PARTS:
        here, there = getattr(one, part), pairs(getattr(other, part))
        assert type(here) is ImageSet
        assert torch.equal(here.images, there.images[slice(None)])
        assert torch.equal(here.labels, there.labels[:])
        assert (here.labels.dtype, here.labels.shape) == (there.labels.dtype, there.labels.shape)
        assert here.classes == there.classes


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_images_in_memory(workers: int, folder: Path) -> None:
    one, other = in_memory(folder).train, streamed(folder, workers).train
    for given in ({}, {"part": (1, 2)}, {"mixing": Mixing(cutmix=1.0)}, {"each": 2, "sizes": ((32, 40),)}):
        for first in (0, 1):
            a, b = (list(Batches(it, VIEWS, 5, seed=5, **given).epoch(4, first)) for it in (one, other))  # type: ignore[arg-type]
            assert [it.step for it in a] == [it.step for it in b] == list(range(first, 3))
            for x, y in zip(a, b, strict=True):
                assert torch.equal(x.images, y.images)  # type: ignore[arg-type]
                assert torch.equal(x.labels, y.labels)
                assert torch.equal(x.indices, y.indices)
                assert all(torch.equal(x.sizes[size], y.sizes[size]) for size in x.sizes)
    for x, y in zip(Batches(one, VIEWS, 5).in_order(), Batches(other, VIEWS, 5).in_order(), strict=True):
        assert torch.equal(x.images, y.images)  # type: ignore[arg-type]
        assert torch.equal(x.labels, y.labels)
    del other, b
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("highest", "given", "dtype"),
    [
        (2, {}, torch.uint8),
        (2, {"classes": {"road": 0, "car": [1, 2]}}, torch.uint8),
        (400, {}, torch.int16),
        (40_000, {"ignore": None}, torch.int32),
    ],
)
def test_labels_of_any_width_are_as_in_memory(
    highest: int, given: dict[str, object], dtype: torch.dtype, tmp_path: Path
) -> None:
    root = write_pairs(tmp_path / "data", count=6, highest=highest)
    one, other = in_memory(root, **given), streamed(root, 1, **given)
    assert_same(one, other)
    assert pairs(other.train).labels.dtype == dtype
    for x, y in zip(*(Batches(it.train, VIEWS, 4).epoch(0) for it in (one, other)), strict=True):
        assert torch.equal(x.labels, y.labels)
        assert x.labels.dtype == y.labels.dtype


def test_four_bytes_a_pixel_are_what_they_would_take(folder: Path) -> None:
    taken = (12 + 4 + 4) * 20 * 24 * 4
    assert isinstance(loaded(folder, Streaming(taken - 1, 2)).train, StreamedPairs)
    assert type(loaded(folder, Streaming(taken, 2)).train) is ImageSet
    (note,) = (it for it in streamed(folder, 2).notes if "would take" in it)
    assert note.startswith("20 images with maps of 20x24 pixels would take 0.0 GB")


def test_without_a_part_to_test_on_the_same_fifth_is_kept_apart(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", count=11)
    for part in ("val", "test"):
        (root / part).rename(tmp_path / part)
    one, other = in_memory(root), streamed(root)
    assert (len(other.train), len(other.test)) == (9, 2)
    assert torch.equal(one.test.labels, other.test.labels[:])
    assert torch.equal(one.train.labels, other.train.labels[:])


def test_parts_are_cut_without_decoding_and_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = pairs(streamed(folder).train)
    for module, name in (("maps", "decode_fitted"), ("maps", "read_label_map"), ("pixels", "decode_fitted")):
        monkeypatch.setattr(f"layerlink.data.stream.{module}.{name}", lambda *_: pytest.fail("decoded"))
    part = train.select(torch.tensor([5, 1, 7])).select(slice(1, 3)).to(torch.device("cpu"))
    assert part.maps.pairs.places.tolist() == part.pixels.places.tolist() == [1, 7]
    assert part.labels.shape == (2, *SIZE)
    assert part.images.shape == (2, 3, *SIZE)
    sums = {it.checksum for it in (train, part, part.known_where(torch.tensor([True, False]), 254))}
    assert len(sums) == 3
    assert len(pickle.dumps(part.maps)) < 100_000  # the table of numbers is 65,536 bytes of it


def test_other_labels_stand_in_the_place_of_maps(folder: Path) -> None:
    one, other = in_memory(folder).test, streamed(folder).test
    labels = torch.arange(len(one))[:, None, None].expand(-1, 2, 3)
    for x, y in zip(*(Batches(it.relabelled(labels), VIEWS, 3).in_order() for it in (one, other)), strict=True):
        assert torch.equal(x.images, y.images)  # type: ignore[arg-type]
        assert torch.equal(x.labels, y.labels)


def test_an_image_that_does_not_decode_is_named_when_a_batch_asks(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data")
    bad = root / "train/images/03.png"
    bad.write_bytes(bad.read_bytes()[:-30])  # its size can be read
    for workers in (0, 2):
        source = streamed(root, workers)
        with pytest.raises(LayerlinkError, match=r"images/03\.png: expected a PNG, .* image; got"):
            list(Batches(source.train, VIEWS, 5).epoch(0))
    one, other = in_memory(root, skip_bad=True), streamed(root, skip_bad=True)
    assert one.bad == other.bad
    assert len(other.bad) == 1
    assert_same(one, other)


def test_what_is_wrong_with_maps_is_told_at_once_and_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data")
    Image.fromarray(np.zeros((30, 41), np.uint8)).save(root / "train/labels/02.png")
    broken = root / "train/labels/07.png"
    broken.write_bytes(broken.read_bytes()[:40])
    (root / "train/images/05.png").write_bytes(b"no image")
    with pytest.raises(LayerlinkError) as found:
        streamed(root)
    told = str(found.value)
    assert "train/: 3 images or maps are bad" in told
    assert "02.png: expected a map of its image's size, 40x30; got 41x30" in told
    assert "images/05.png: expected a PNG" in told
    assert "labels/07.png: expected a PNG image; a checksum in it is wrong" in told
    one, other = in_memory(root, skip_bad=True), streamed(root, skip_bad=True)
    assert [it.partition("object at")[0] for it in one.bad] == [it.partition("object at")[0] for it in other.bad]
    assert [Path(it.split(":")[0]).name for it in other.bad] == ["02.png", "05.png", "07.png"]
    assert_same(one, other)


def test_maps_are_looked_at_again_where_one_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, read = write_pairs(tmp_path / "data"), list[Path]()

    def reading(path: Path, most_pixels: int) -> Labels:
        read.append(path)
        return read_label_map(path, most_pixels)

    monkeypatch.setattr("layerlink.data.stream.pairs.read_label_map", reading)
    first = streamed(root, skip_bad=True)
    assert len(read) == 20
    again = streamed(root, skip_bad=True)
    assert len(read) == 20
    assert (again.train.checksum, again.train.classes, again.notes) == (
        *(first.train.checksum, first.train.classes),
        first.notes,
    )
    streamed(root, skip_bad=True, classes=4)  # other numbers are of no class
    assert len(read) == 40
    (root / "val/labels/01.png").write_bytes(b"no map")
    changed = streamed(root, skip_bad=True)
    assert len(read) == 60
    assert len(changed.bad) == 1
    for kept in (tmp_path / "cache").glob("maps-*.json"):  # by somebody else
        kept.write_text(kept.read_text().replace("numbers", "mumbers"))
    assert len(streamed(root, skip_bad=True).train) == 12
    assert len(read) == 80


def test_a_map_that_changed_since_is_told_by_the_batch(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data")
    source = streamed(root, 1)
    Image.fromarray(np.zeros((30, 41), np.uint8)).save(root / "train/labels/02.png")
    with pytest.raises(LayerlinkError, match=r"02\.png: expected a map of its image's size, 40x30; got 41x30"):
        list(Batches(source.train, VIEWS, 5).epoch(0))
    (root / "train/labels/02.png").unlink()
    with pytest.raises(LayerlinkError, match=r"labels/02\.png: cannot be read"):
        list(Batches(source.train, VIEWS, 5).epoch(0))


def test_colours_numbers_of_no_class_and_parts_that_are_ignored_are_told_as_in_memory(tmp_path: Path) -> None:
    def both(**given: object) -> str:
        texts = []
        for load in (in_memory, streamed):
            with pytest.raises(LayerlinkError) as found:
                load(root, **given)
            texts.append(str(found.value))
        assert texts[0] == texts[1]
        return texts[0]

    root = write_pairs(tmp_path / "data")
    assert "labels must lie in 0..1, for the 2 classes of data.arguments.classes" in both(classes=2)
    for path in (root / "test/labels").iterdir():
        Image.fromarray(np.full((30, 40), 255, np.uint8)).save(path)
    assert "no pixel of 4 maps has a label that counts" in both()
    for name in ("01", "04"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / f"train/labels/{name}.png")
    assert "2 maps hold colours" in both()


def test_maps_are_told_in_their_order_whichever_thread_met_them_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pairs(tmp_path / "data")
    for name in ("01", "02", "04"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / f"train/labels/{name}.png")

    def slowly(path: Path, most_pixels: int) -> Labels:
        if path.name == "01.png":
            time.sleep(0.2)
        return read_label_map(path, most_pixels)

    for module, load in ((segmentation, in_memory), (reading_pairs, streamed)):
        monkeypatch.setattr(module, "read_label_map", slowly)
        with pytest.raises(LayerlinkError) as found:
            load(root)
        told = [str(found.value).index(f"{name}.png") for name in ("01", "02", "04")]
        assert told == sorted(told)


def test_an_image_that_exif_turns_is_as_large_as_its_map(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", count=5)
    lying = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 30, 3)).astype(np.uint8))
    exif = lying.getexif()
    exif[0x0112] = 6
    (root / "train/images/00.png").unlink()
    lying.save(root / "train/images/00.jpg", exif=exif)
    assert_same(in_memory(root), streamed(root))
