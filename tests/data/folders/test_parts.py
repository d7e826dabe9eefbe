"""Folders of images as people have them: every image is read, or told by name and number."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cases import cases
from layerlink.data import load_source
from layerlink.data.folders.parts import find_parts
from layerlink.errors import LayerlinkError, UsageError


def picture(path: Path, shade: int = 100, kind: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), shade, np.uint8)).save(path, kind)


def tree(root: Path, *splits: str, classes: tuple[str, ...] = ("cat", "dog"), count: int = 5) -> Path:
    for split in splits or ("",):
        for name in classes:
            for number in range(count):
                picture(root / split / name / f"{number}.png", 40 * number)
    return root


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val", "VALID"])
@pytest.mark.parametrize("test", [None, "test", "Test"])
def test_splits_are_used_for_what_they_say(tmp_path: Path, val: str, test: str | None) -> None:
    root = tree(tmp_path, "train", val, *([test] if test else []))
    source = load_source("folder", root, size=4, cache=tmp_path / "cache")
    assert source.validation is not None
    assert len(source.validation) == 10
    assert (len(source.train), len(source.test)) == ((10, 10) if test else (8, 2))
    again = load_source("folder", root, size=4, cache=tmp_path / "cache")  # from the cache
    assert again.validation is not None
    assert bool((again.validation.images == source.validation.images).all())
    (note,) = source.notes
    assert f"validation: {val}/, in place of data.validation" in note
    assert (f"test: {test}/" if test else "test: a fifth of train/, as there is no test/") in note


def test_images_in_folders_inside_a_class_are_of_that_class_and_told(tmp_path: Path) -> None:
    root = tree(tmp_path, "train", "test")
    picture(root / "train" / "cat" / "disk2" / "deep" / "a.png")
    source = load_source("folder", root, size=4)
    assert len(source.train) == 11
    assert any("1 images of train/ lie in folders inside class folders" in note for note in source.notes)


def test_links_that_lead_nowhere_are_told_by_name_and_number(tmp_path: Path) -> None:
    root = tree(tmp_path, "train")
    for name in ("8.png", "9.png"):
        os.symlink("/nowhere/at/all.png", root / "train" / "cat" / name)
    with pytest.raises(LayerlinkError) as caught:
        load_source("folder", root, size=4)
    assert "got 2 that cannot: cat/8.png is a link to /nowhere/at/all.png, where nothing is; cat/9.png" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".jfif", "JPEG"),
        (".jpe", "JPEG"),
        (".JPG", "JPEG"),
        (".tif", "TIFF"),
        (".TIFF", "TIFF"),
        (".gif", "GIF"),
        (".avif", "AVIF"),
    ],
)
def test_other_endings_are_read(tmp_path: Path, ending: str, kind: str) -> None:
    root = tree(tmp_path, "train")
    picture(root / "train" / "cat" / f"other{ending}", kind=kind)
    assert len(load_source("folder", root, size=4).train) + 2 == 11


def test_images_that_are_not_read_are_warned_of(tmp_path: Path) -> None:
    root = tree(tmp_path, "train")
    for name in ("a.heic", "b.heic", "c.dcm"):
        (root / "train" / "cat" / name).write_bytes(b"x")
    picture(root / "train" / "stray.png")
    warnings = load_source("folder", root, size=4).warnings
    assert any("3 (.dcm 1, .heic 2), the first cat/a.heic" in text for text in warnings)
    assert any("images right in train/, in no class folder, are not read: 1" in text for text in warnings)


def test_names_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    for split, name in zip(("train", "test"), forms, strict=True):
        tree(tmp_path / "root", split, classes=(name, "dog"))
    source = load_source("folder", tmp_path / "root", size=4)
    assert source.train.classes == source.test.classes == (forms[0], "dog")
    for name in forms:
        tree(tmp_path / "both", "train", classes=(name, "dog"))
    with pytest.raises(LayerlinkError, match=r"are the same name, .* in two Unicode forms \(NFC, NFD\)"):
        load_source("folder", tmp_path / "both", size=4)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    source = load_source("folder", tree(tmp_path, classes=("bus", "car", "train")), size=4)
    assert source.train.classes == ("bus", "car", "train")
    assert len(source.train) + len(source.test) == 15


def test_classes_that_differ_between_splits_are_told(tmp_path: Path) -> None:
    tree(tmp_path, "train")
    tree(tmp_path, "val", classes=("cat", "bird"))
    with pytest.raises(LayerlinkError, match="only in train: dog; only in val: bird"):
        load_source("folder", tmp_path, size=4)


def test_a_file_that_changed_is_read_again_even_where_its_size_and_time_agree(tmp_path: Path) -> None:
    root, cache = tree(tmp_path / "root", "train"), tmp_path / "cache"
    file = root / "train" / "cat" / "1.png"
    before = load_source("folder", root, size=4, cache=cache)
    stat = file.stat()
    picture(tmp_path / "new.png", 41)
    data = (tmp_path / "new.png").read_bytes()
    assert len(data) == stat.st_size
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = load_source("folder", root, size=4, cache=cache)
    assert not bool(
        (before.train.images == after.train.images).all() and (before.test.images == after.test.images).all()
    )
    os.rename(root / "train" / "dog", root / "train" / "wolf")
    assert load_source("folder", root, size=4, cache=cache).train.classes == ("cat", "wolf")


NAMES = st.text("ab\u00e9\u0301.T", min_size=1, max_size=4).filter(lambda name: name.strip(".") and "/" not in name)
ENTRY = st.tuples(
    st.sampled_from(["train", "Test", "val", "cat", "train/cat", "train/dog", "val/cat", "test/cat/deep"]),
    NAMES,
    st.sampled_from([".png", ".jfif", ".heic", ".txt", ""]),
)


@given(st.lists(ENTRY, max_size=8))
@cases(3)
def test_every_image_of_any_folder_is_read_or_told(entries: list[tuple[str, str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for where, name, ending in entries:
            path = root / where / (name + ending)
            if not path.exists() and not name.startswith("."):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
        images = [path for path in root.rglob("*") if path.suffix in (".png", ".jfif") and path.is_file()]
        try:
            parts = find_parts(root)
        except (UsageError, LayerlinkError) as error:
            assert str(error)
            return
        read = {file for part in parts.named.values() for file in part.files}
        if read != set(images):
            assert parts.warnings
        assert read <= set(images)
