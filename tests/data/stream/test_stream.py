"""Streamed images are those that lie in memory, bit by bit, whoever decodes them and whatever holds them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data import Batches, ImageSet, Source, Views, load_source
from layerlink.data.augment import Mixing
from layerlink.data.stream.images import StreamedImages, Streaming
from layerlink.data.stream.labels import numbered
from layerlink.data.stream.source import by_role
from layerlink.errors import LayerlinkError, UsageError
from picture_files import CLASSES, add, files_of, write_folder, write_parquet, write_tars

VIEWS = Views(24, (0.1, 0.2, 0.3), (1.0, 0.5, 0.25), "crop-flip", seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures") / "folder")


def streamed(name: str, root: Path, workers: int = 0, **more: object) -> Source:
    return load_source(name, root, size=24, streaming=Streaming(1, workers), **more)  # type: ignore[arg-type]


def pixels(images: ImageSet) -> torch.Tensor:
    return images.images[slice(0, len(images))]


WRITERS: dict[str, tuple[str, Callable[[Path, Path], Path]]] = {
    "names in tars": ("webdataset", write_tars),
    "fields in tars": ("webdataset", lambda root, folder: write_tars(root, folder, "json")),
    "structs": ("parquet", write_parquet),
    "bytes": ("parquet", lambda root, folder: write_parquet(root, folder, ("jpg", "label"), plain=True)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_images_in_tars_and_tables(kind: str, folder: Path, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    root = write(tmp_path / "other", folder)
    expected = load_source("folder", folder, size=24)
    for source in (streamed(name, root), load_source(name, root, size=24)):
        for one, other in ((source.train, expected.train), (source.test, expected.test)):
            assert torch.equal(pixels(one), pixels(other))  # type: ignore[arg-type]
            assert torch.equal(one.labels, other.labels)
        assert source.train.classes == CLASSES
    assert isinstance(streamed(name, root).train, StreamedImages)
    assert type(load_source(name, root, size=24).train) is ImageSet


def test_numbers_as_labels_name_classes(folder: Path, tmp_path: Path) -> None:
    source = streamed("webdataset", write_tars(tmp_path / "tars", folder, "number"))
    assert source.train.classes == ("0", "1")
    assert torch.equal(source.train.labels, load_source("folder", folder, size=24).train.labels)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_images_in_memory(workers: int, folder: Path) -> None:
    one, other = load_source("folder", folder, size=24), streamed("folder", folder, workers)
    for part in ((0, 1), (1, 2)):
        for first in (0, 2):
            a = list(Batches(one.train, VIEWS, 7, seed=5, part=part).epoch(4, first))
            b = list(Batches(other.train, VIEWS, 7, seed=5, part=part).epoch(4, first))
            assert (
                [it.step for it in a] == [it.step for it in b] == list(range(first, 4 if len(one.train) == 24 else 3))
            )
            for x, y in zip(a, b, strict=True):
                assert torch.equal(x.images, y.images)  # type: ignore[arg-type]
                assert torch.equal(x.labels, y.labels)
                assert torch.equal(x.indices, y.indices)
    del other, b
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_are_mixed_are_read_with_those_of_the_batch(workers: int, folder: Path) -> None:
    one, other = (
        load_source("folder", folder, size=(24, 20)),
        load_source("folder", folder, size=(24, 20), streaming=Streaming(1, workers)),
    )
    views, mixing = Views((24, 20), (0.1, 0.2, 0.3), (1.0, 0.5, 0.25), "flip"), Mixing(mixup=0.4, cutmix=1.0)
    a, b = (list(Batches(it.train, views, 7, each=2, mixing=mixing).epoch(1)) for it in (one, other))
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x.images, y.images)  # type: ignore[arg-type]
        assert torch.equal(x.labels, y.labels)
        assert x.labels.shape[1] == 2


def test_parts_are_cut_without_decoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = streamed("folder", folder)
    assert isinstance(source.train, StreamedImages)
    monkeypatch.setattr("layerlink.data.stream.pixels.decode_fitted", lambda *_: pytest.fail("decoded"))
    part = source.train.select(torch.tensor([5, 1])).select(slice(1, 2)).to(torch.device("cpu"))
    assert part.pixels.places.tolist() == [1]
    assert part.images.shape == (1, 3, 24, 24)
    assert part.checksum != source.train.checksum
    assert len(pickle.dumps(part.pixels)) < 20_000


def test_processes_are_kept_from_epoch_to_epoch_and_end_with_the_images(folder: Path) -> None:
    batches = Batches(streamed("folder", folder, 2).train, VIEWS, 4)
    epoch = batches.epoch(0)
    next(epoch)
    one = {it.pid for it in multiprocessing.active_children()}
    epoch.close()  # type: ignore[attr-defined]
    list(batches.epoch(1))
    assert {it.pid for it in multiprocessing.active_children()} == one
    assert len(one) == 2
    del epoch, batches
    gc.collect()
    assert multiprocessing.active_children() == []


def test_a_pass_in_order_leaves_no_process(folder: Path) -> None:
    batches = Batches(streamed("folder", folder, 2).train, VIEWS, 4).in_order()
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()  # type: ignore[attr-defined]
    del batches
    gc.collect()
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_told(folder: Path) -> None:
    batches = Batches(streamed("folder", folder, 1).train, VIEWS, 2)
    epoch = batches.epoch(0)
    next(epoch)
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    time.sleep(0.5)
    with pytest.raises(LayerlinkError, match="a process that reads images ended on its own"):
        list(epoch)
    assert len(list(batches.epoch(0))) == len(batches)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_processes_end_with_a_parent_that_is_killed(folder: Path) -> None:
    code = (
        "import multiprocessing, sys, time\n"
        "from layerlink.data.batches import Batches\n"
        "from layerlink.data.sources.table import load_source\n"
        "from layerlink.data.stream.images import Streaming\n"
        "from layerlink.data.views import Views\n"
        "from pathlib import Path\n"
        "images = load_source('folder', Path(sys.argv[1]), size=24, streaming=Streaming(1, 2)).train\n"
        "epoch = Batches(images, Views(24, (0.1, 0.2, 0.3), (1.0, 0.5, 0.25), 'none'), 4).epoch(0)\n"
        "next(epoch)\n"
        "print(*[it.pid for it in multiprocessing.active_children()], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(it) for it in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    until = time.monotonic() + 20
    while any(Path(f"/proc/{it}/cmdline").is_file() and Path(f"/proc/{it}/cmdline").read_bytes() for it in children):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_used_is_named(workers: int, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", train=4, test=2)
    bad = root / "train" / "dog" / "002.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(LayerlinkError, match=r"dog/002\.jpg: expected a .* image; got 300 bytes"):
        list(Batches(streamed("folder", root, workers).train, VIEWS, 4).epoch(0))
    source = streamed("folder", root, workers, skip_bad=True)
    assert (len(source.train), source.train.labels.tolist()) == (7, [0] * 4 + [1] * 3)
    assert [text.split(":")[0] for text in source.bad] == [str(bad)]
    assert len(list(Batches(source.train, VIEWS, 4).epoch(0))) == 2


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", train=4, test=2)
    source = streamed("folder", root, 1)
    (root / "train" / "cat" / "001.jpg").unlink()
    with pytest.raises(LayerlinkError, match=r"cat/001\.jpg: cannot be read"):
        list(Batches(source.train, VIEWS, 4).epoch(0))


def test_however_many_tars_there_are_none_stays_open(folder: Path, tmp_path: Path) -> None:
    source = streamed("webdataset", write_tars(tmp_path / "tars", folder))
    before = len(os.listdir("/proc/self/fd"))
    pixels(source.train)  # type: ignore[arg-type]
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_wrong_with_tars_is_told(folder: Path, tmp_path: Path) -> None:
    def refused(root: Path) -> str:
        with pytest.raises(LayerlinkError) as error:
            streamed("webdataset", root)
        return str(error.value)

    assert "holds no .tar files" in refused(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    assert "a.tar.gz is compressed" in refused(tmp_path)
    (tmp_path / "a.tar.gz").rename(tmp_path / "a.tar")
    assert "expected a whole, uncompressed tar" in refused(tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "1.jpg", b"")
        add(tar, "2.jpg", b"")
        add(tar, "2.cls", b"cat")
    assert (
        "1 of 2 images have no label: expected KEY.cls, or KEY.json with the field label; the first is '1'"
        in refused(tmp_path)
    )
    cut = write_tars(tmp_path / "tars", folder) / "a-train-1.tar"
    source = streamed("webdataset", tmp_path / "tars")
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(LayerlinkError, match=r"a-train-1\.tar, byte .*: (the tar ends inside of it|cannot be read)"):
        pixels(source.train)  # type: ignore[arg-type]


def test_what_is_wrong_with_tables_is_told(folder: Path, tmp_path: Path) -> None:
    def refused(root: Path, **arguments: str) -> str:
        with pytest.raises(LayerlinkError) as error:
            streamed("parquet", root, arguments=arguments)
        return str(error.value)

    root = write_parquet(tmp_path / "good", folder)
    assert "unknown column 'pictrue'. Did you mean picture" in refused(root, image="pictrue")
    assert "column 'kind' must hold encoded images" in refused(root, image="kind")
    assert "unknown argument 'images'. Did you mean image" in refused(root, images="picture")
    (tmp_path / "none").mkdir()
    assert "holds no .parquet files" in refused(tmp_path / "none")
    table = pa.table({"a": [b"1", b"2"], "b": [b"1", b"2"], "label": [0, None]})
    (tmp_path / "two").mkdir()
    pq.write_table(table, tmp_path / "two" / "x.parquet")
    assert "which column holds the image? There are a, b, label" in refused(tmp_path / "two")
    assert "1 of 2 rows have no 'label'; the first is 1" in refused(tmp_path / "two", image="a")
    (tmp_path / "two" / "x.parquet").write_bytes(b"PAR1")
    assert "expected a whole Parquet file" in refused(tmp_path / "two")


def test_a_part_without_images_is_told_before_there_is_a_training(folder: Path, tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "empty", folder)
    test = root / "test" / "0.parquet"
    pq.write_table(pq.read_table(test).slice(0, 0), test)
    with pytest.raises(LayerlinkError, match=r"test holds no image that can be used"):
        streamed("parquet", root)
    root = write_parquet(tmp_path / "bad", folder)
    table = pq.read_table(root / "test" / "0.parquet")
    bad = pa.array([{"bytes": b"none", "path": "a.png"}] * len(table), table.schema.field("picture").type)
    pq.write_table(table.set_column(0, "picture", bad), root / "test" / "0.parquet")
    with pytest.raises(LayerlinkError, match=r"test holds no image that can be used: .*row 0 of group 0"):
        streamed("parquet", root, skip_bad=True)


def test_files_are_used_for_what_their_names_say(tmp_path: Path) -> None:
    names = ["train/1.tar", "b/val/2.tar", "x-test-00000-of-2.tar", "validation.tar", "TRAINING_3.tar"]
    assert {
        role: [str(it.relative_to(tmp_path)) for it in found]
        for role, found in by_role(tmp_path, [tmp_path / name for name in names], ".tar").items()
    } == {"train": [names[0], names[4]], "validation": [names[1], names[3]], "test": [names[2]]}
    assert list(by_role(tmp_path, [tmp_path / "1.tar", tmp_path / "2.tar"], ".tar")) == ["train"]
    with pytest.raises(UsageError, match=r"1 of 2 .tar files do not say what they are for, others do: 1\.tar"):
        by_role(tmp_path, [tmp_path / "1.tar", tmp_path / "test.tar"], ".tar")
    with pytest.raises(UsageError, match=r"no .tar file is called train; there are test"):
        by_role(tmp_path, [tmp_path / "test.tar"], ".tar")


@given(
    st.lists(st.one_of(st.integers(-2, 5), st.text(max_size=2)), min_size=1, max_size=8),
    st.lists(st.one_of(st.integers(-2, 5), st.text(max_size=2)), max_size=4),
)
def test_any_labels_are_classes_or_told(train: list[int | str], test: list[int | str]) -> None:
    try:
        labels, classes = numbered({"train": train, "test": test}, None, "data")
    except LayerlinkError:
        mixed = len({type(it) for it in (*train, *test)}) > 1
        assert mixed or not set(test) <= set(train) or min(it for it in train if isinstance(it, int)) < 0
        return
    for part, said in (("train", train), ("test", test)):
        assert [classes[label] for label in labels[part]] == [str(it) for it in said]


def test_names_that_the_files_tell_are_those_of_numbers() -> None:
    labels, classes = numbered({"train": [2, 0], "test": [0]}, ["cat", "dog", "owl"], "data")
    assert (labels, classes) == ({"train": [2, 0], "test": [0]}, ("cat", "dog", "owl"))
    with pytest.raises(
        UsageError, match=r"names 2 classes, the labels 0 to 1; the training images also have the label 2"
    ):
        numbered({"train": [2, 0]}, ["cat", "dog"], "data")


def test_places_among_names_that_are_numbers_are_places() -> None:
    folders = ["0", "1", "10", "2"]  # in the order of their letters, as the hub's imagefolder has them
    labels, classes = numbered({"train": [2, 0, 1], "test": [2]}, folders, "data")
    assert (labels, classes) == ({"train": [2, 0, 1], "test": [2]}, ("0", "1", "10", "2"))
    labels, _ = numbered({"train": ["2", "10"]}, folders, "data")
    assert labels == {"train": [3, 2]}, "texts are names"


def test_files_of_a_folder_are_all_there(folder: Path) -> None:
    source = streamed("folder", folder)
    assert isinstance(source.train, StreamedImages)
    pictures = source.train.pixels.decoder.pictures
    assert [pictures.where(index) for index in range(len(pictures))] == [str(it) for it in files_of(folder, "train")]
