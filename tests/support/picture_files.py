"""The same few JPEGs as a folder, as tars and as Parquet files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("cat", "dog")


def write_folder(root: Path, train: int = 12, test: int = 4) -> Path:
    """``root/train/cat/000.jpg`` and on: noise of about 40x50 pixels, another size each."""
    draw = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 255, (40 + number, 50, 3), dtype=np.uint8)).save(
                    folder / f"{number:03}.jpg"
                )
    return root


def files_of(root: Path, part: str) -> list[Path]:
    """The images of a part, class after class."""
    return sorted((root / part).rglob("*.jpg"))


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member of a tar."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_tars(root: Path, folder: Path, label: str = "cls") -> Path:
    """Two tars to train on, one of test; labels are names in ``.cls``, numbers in ``.cls`` or fields of ``.json``."""
    root.mkdir()
    train = files_of(folder, "train")
    half = len(train) // 2
    for name, files in (
        ("a-train-0", train[:half]),
        ("a-train-1", train[half:]),
        ("a-test-0", files_of(folder, "test")),
    ):
        with tarfile.open(root / f"{name}.tar", "w") as tar:
            for number, path in enumerate(files):
                add(tar, f"deep/{number:05}.jpg", path.read_bytes())
                said = path.parent.name
                number_said = str(CLASSES.index(said))
                text = {"cls": said, "number": number_said, "json": json.dumps({"label": said, "url": "x"})}[label]
                add(tar, f"deep/{number:05}.{'json' if label == 'json' else 'cls'}", text.encode())
    return root


def write_parquet(root: Path, folder: Path, columns: Sequence[str] = ("picture", "kind"), plain: bool = False) -> Path:
    """``root/train/0.parquet`` and ``root/test/0.parquet``, in groups of seven rows."""
    for part in ("train", "test"):
        files = files_of(folder, part)
        (root / part).mkdir(parents=True)
        images = [it.read_bytes() if plain else {"bytes": it.read_bytes(), "path": it.name} for it in files]
        table = pa.table({columns[0]: images, columns[1]: [it.parent.name for it in files]})
        pq.write_table(table, root / part / "0.parquet", row_group_size=7)
    return root


def write_pairs(root: Path, count: int = 12, highest: int = 2) -> Path:
    """Noise of 40x30 with maps of the numbers up to ``highest``, and a column of 255."""
    draw = np.random.default_rng(0)
    for part, images in (("train", count), ("val", 4), ("test", 4)):
        for name in ("images", "labels"):
            (root / part / name).mkdir(parents=True)
        for n in range(images):
            pixels, labels = draw.integers(0, 256, (30, 40, 3)), draw.integers(0, highest + 1, (30, 40))
            labels[:2, :2] = highest
            labels[:, 5] = 255
            Image.fromarray(pixels.astype(np.uint8)).save(root / part / f"images/{n:02}.png")
            kind = np.uint8 if highest < 256 else np.uint16
            Image.fromarray(labels.astype(kind)).save(root / part / f"labels/{n:02}.png")
    return root
