from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layerlink.data import SOURCES, ImageSet, Source, load_source, split
from layerlink.errors import LayerlinkError, UsageError
from small_cifar import encoded


def test_the_registry() -> None:
    names = ["digits", "cifar10", "cifar100", "folder", "parquet", "webdataset", "segmentation", "text"]
    assert list(SOURCES) == names
    for entry in SOURCES.values():
        assert entry.description
        assert "\n" not in entry.description


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'cifar-10'. Did you mean cifar10 or cifar100\?"):
        load_source("cifar-10", None)


def test_digits_and_split_through_the_front_door() -> None:
    source = load_source("digits", None)
    assert isinstance(source, Source)
    train, validation = split(source.train, validation=137, train_images=1000, seed=0)
    assert isinstance(train, ImageSet)
    assert (len(train), len(validation)) == (1000, 137)


def test_folder_through_the_front_door(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for n in range(5):
            (tmp_path / name / f"{n}.png").write_bytes(encoded(np.zeros((3, 9, 7), np.uint8), "PNG"))
    assert load_source("folder", tmp_path, size=6).test.images.shape == (2, 3, 6, 6)


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(LayerlinkError, match=r"cannot be read \(not yours\)"):
        load_source("folder", tmp_path)


def test_importing_the_sources_imports_none_of_their_packages() -> None:
    code = "import layerlink.data, sys; print([m for m in ('PIL', 'pyarrow', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
