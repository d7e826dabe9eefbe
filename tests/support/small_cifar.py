"""Small CIFAR sets with every layout written out by hand: 4 images in each of 5 training files, 10 test images."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from layerlink.data.sources.cifar import CIFAR10, CIFAR100, Cifar

TRAIN, TEST = 20, 10
SMALL10 = replace(CIFAR10, train_images=TRAIN, test_images=TEST)
SMALL100 = replace(CIFAR100, train_images=TRAIN, test_images=TEST)


def pixels(which: Cifar, split: str) -> tuple[np.ndarray, np.ndarray]:
    """images (N, 3, 32, 32) uint8 and labels (N,) int64; other ones for each set and split."""
    rng = np.random.default_rng(len(which.classes) + (split == "test"))
    count = TRAIN if split == "train" else TEST
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, len(which.classes), count)
    labels[:2] = 0, len(which.classes) - 1
    return images, labels


def old_pickle(value: Any) -> bytes:
    """Pickled as Python 2 wrote the originals: protocol 2, byte strings as SHORT_BINSTRING and BINSTRING.

    Written by hand, opcode by opcode, because Python 3 writes bytes in another way.
    """

    def text(raw: bytes) -> bytes:
        return (b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + len(raw).to_bytes(4, "little")) + raw

    def number(n: int) -> bytes:
        return b"J" + n.to_bytes(4, "little", signed=True)

    def item(one: Any) -> bytes:
        if isinstance(one, bytes):
            return text(one)
        if isinstance(one, int):
            return number(one)
        if isinstance(one, list):
            return b"](" + b"".join(map(item, one)) + b"e"
        if isinstance(one, dict):
            return b"}(" + b"".join(item(key) + item(each) for key, each in one.items()) + b"u"
        rows, columns = one.shape
        blank = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
        kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
        kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        shape = number(rows) + number(columns) + b"\x86"
        return blank + b"(" + number(1) + shape + kind + b"\x89" + text(one.tobytes()) + b"tb"

    return b"\x80\x02" + item(value) + b"."


def new_pickle(value: Any) -> bytes:
    return pickle.dumps(value, protocol=2)


def python_files(which: Cifar, dump: Callable[[Any], bytes] = old_pickle) -> dict[str, bytes]:
    """The files of the pickled release, by name."""
    ten = len(which.classes) == 10
    label_key, names_key = (b"labels", b"label_names") if ten else (b"fine_labels", b"fine_label_names")

    def batch(images: np.ndarray, labels: np.ndarray) -> bytes:
        flat = np.ascontiguousarray(images.reshape(len(images), 3072))
        names = [b"image_%d.png" % n for n in range(len(images))]
        return dump({b"batch_label": b"a batch", label_key: labels.tolist(), b"data": flat, b"filenames": names})

    images, labels = pixels(which, "train")
    files = {("test_batch" if ten else "test"): batch(*pixels(which, "test"))}
    if ten:
        files |= {f"data_batch_{n + 1}": batch(images[4 * n : 4 * n + 4], labels[4 * n : 4 * n + 4]) for n in range(5)}
    else:
        files["train"] = batch(images, labels)
    files["batches.meta" if ten else "meta"] = dump({names_key: [name.encode() for name in which.classes]})
    return files


def binary_files(which: Cifar) -> dict[str, bytes]:
    """The files of the binary release, by name."""
    ten = len(which.classes) == 10

    def records(images: np.ndarray, labels: np.ndarray) -> bytes:
        head = b"" if ten else b"\x07"  # the coarse label
        return b"".join(head + bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))

    images, labels = pixels(which, "train")
    files = {("test_batch.bin" if ten else "test.bin"): records(*pixels(which, "test"))}
    if ten:
        for n in range(5):
            files[f"data_batch_{n + 1}.bin"] = records(images[4 * n : 4 * n + 4], labels[4 * n : 4 * n + 4])
    else:
        files["train.bin"] = records(images, labels)
    files["batches.meta.txt" if ten else "fine_label_names.txt"] = "\n".join([*which.classes, "", ""]).encode()
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def write_archive(archive: Path, folder: str, files: dict[str, bytes]) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in {"readme.html": b"<p>", **files}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive


def encoded(image: np.ndarray, form: str = "WEBP") -> bytes:
    """(3, H, W) or (H, W) uint8 as the bytes of a lossless image file."""
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0) if image.ndim == 3 else image).save(
        buffer, form, **({"lossless": True} if form == "WEBP" else {})
    )
    return buffer.getvalue()


def write_shard(
    path: Path, cells: list[bytes | None], labels: list[int] | None, column: str, names: tuple[str, ...] | None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = pa.array(
        [{"bytes": cell, "path": None} for cell in cells], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    table = pa.table({"img": images, column: pa.array(labels, pa.int64())})
    if names is not None:
        features = {column: {"names": list(names), "_type": "ClassLabel"}, "img": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=3)
    return path


def write_parquet(folder: Path, which: Cifar, form: str = "WEBP") -> Path:
    """Two training shards and one test shard."""
    for split, count in (("train", 2), ("test", 1)):
        images, labels = pixels(which, split)
        each = len(images) // count
        for n in range(count):
            rows = slice(n * each, (n + 1) * each)
            cells: list[bytes | None] = [encoded(image, form) for image in images[rows]]
            name = f"{split}-{n:05d}-of-{count:05d}.parquet"
            write_shard(folder / name, cells, labels[rows].tolist(), which.label_column, which.classes)
    return folder
