from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layerlink.data.sources import folder as folder_module
from layerlink.data.sources.folder import load_folder
from layerlink.errors import LayerlinkError, UsageError
from small_cifar import encoded


def solid(value: int, height: int = 8, width: int = 8) -> bytes:
    return encoded(np.full((3, height, width), value, np.uint8), "PNG")


def fill(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    """Folders of solid images, each of a grey of its own."""
    value = start
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for n in range(count):
            (root / name / f"{n:03d}.png").write_bytes(solid(value))
            value += 1
    return root


def greys(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_train_and_test_folders(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"b": 2, "a": 3})
    fill(tmp_path / "test", {"a": 1, "b": 1}, start=100)
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / ".hidden").mkdir()
    source = load_folder(tmp_path)
    assert source.train.images.shape == (5, 3, 8, 8)
    assert source.train.classes == source.test.classes == ("a", "b")
    assert greys(source.train.images) == [2, 3, 4, 0, 1]
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert greys(source.test.images) == [100, 101]


@pytest.mark.parametrize("inner", ["", "train"])
def test_without_a_test_folder_a_stratified_fifth_is_kept_apart(inner: str, tmp_path: Path) -> None:
    fill(tmp_path / inner, {"a": 50, "b": 25})
    source = load_folder(tmp_path)
    assert source.test.labels.bincount().tolist() == [10, 5]
    assert sorted(greys(source.train.images) + greys(source.test.images)) == list(range(75))
    assert greys(load_folder(tmp_path, cache=tmp_path / "other").test.images) == greys(source.test.images)


def test_every_ending_and_kind_of_image(tmp_path: Path) -> None:
    rgb = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    kinds = {
        "rgb.png": Image.fromarray(rgb),
        "rgb.bmp": Image.fromarray(rgb),
        "rgba.png": Image.fromarray(np.dstack([rgb, np.full((8, 8), 3, np.uint8)])),
        "palette.PNG": Image.fromarray(rgb).quantize(4),
        "photo.jpg": Image.fromarray(rgb),
        "photo.JPEG": Image.fromarray(rgb),
        "web.webp": Image.fromarray(rgb),
    }
    (tmp_path / "train" / "one").mkdir(parents=True)
    for name, image in kinds.items():
        image.save(tmp_path / "train" / "one" / name)
    clear = Image.fromarray(rgb).quantize(4)
    clear.save(tmp_path / "train" / "one" / "clear.png", transparency=bytes([7, 255, 0, 0]))
    fill(tmp_path / "test", {"one": 1})
    images = load_folder(tmp_path).train.images.int()
    assert len(images) == 8
    expected = torch.tensor([200, 100, 50]).reshape(1, 3, 1, 1)
    assert (images - expected).abs().max() <= 3  # JPEG and lossy WebP


def test_the_shorter_side_is_scaled_and_the_centre_cut_out(tmp_path: Path) -> None:
    """Columns 0..7 dark, 8..15 light, 16..23 middle: the centre square of 24 x 8 is the light part."""
    image = np.zeros((3, 8, 24), np.uint8)
    image[:, :, 8:16], image[:, :, 16:] = 240, 120
    for name, array in {"wide": image, "tall": image.transpose(0, 2, 1)}.items():
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "image.png").write_bytes(encoded(np.ascontiguousarray(array), "PNG"))
        fill(tmp_path / "test", {name: 1})
    same = load_folder(tmp_path, size=8).train.images
    assert torch.equal(same, torch.full((2, 3, 8, 8), 240, dtype=torch.uint8))
    half = load_folder(tmp_path, size=4).train.images
    assert half.shape == (2, 3, 4, 4)
    # By hand: halving with the triangle filter weighs 1 3 3 1 eighths; the outer columns meet one outer pixel.
    assert half[1, 0, 0].tolist() == [210, 240, 240, 225]
    assert half[0, 0, :, 0].tolist() == [210, 240, 240, 225]


def test_exif_orientation_turns_the_image_upright(tmp_path: Path) -> None:
    stored = np.zeros((16, 16, 3), np.uint8)
    stored[:, :8] = 255  # light on the left; orientation 6: to be turned clockwise, so light comes on top
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "train" / "one").mkdir(parents=True)
    Image.fromarray(stored).save(tmp_path / "train" / "one" / "a.png", exif=exif)
    fill(tmp_path / "test", {"one": 1})
    image = load_folder(tmp_path, size=16).train.images[0, 0]
    assert image[:8].min() == 255
    assert image[8:].max() == 0


def test_without_size_every_image_must_be_square_and_alike(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 2})
    fill(tmp_path / "test", {"a": 1})
    (tmp_path / "train" / "a" / "odd.png").write_bytes(solid(0, 8, 9))
    with pytest.raises(UsageError, match=r"odd\.png: without size, expected every image to be 8x8.* got 9x8\. Give"):
        load_folder(tmp_path)
    assert load_folder(tmp_path, size=8).train.images.shape == (3, 3, 8, 8)
    with pytest.raises(UsageError, match="size must be at least 1 pixel; got 0"):
        load_folder(tmp_path, size=0)


def test_a_folder_that_is_not_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs root"):
        load_folder(None)
    with pytest.raises(UsageError, match=r"nowhere' does not exist\. Give a folder of train/<class>/"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="expected a folder for each class; got none"):
        load_folder(tmp_path)
    fill(tmp_path, {"test": 1})
    with pytest.raises(UsageError, match="holds test/ but no train/"):
        load_folder(tmp_path)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 0})
    with pytest.raises(LayerlinkError, match=r"b: expected images that end in \.png.*; got none"):
        load_folder(tmp_path)


def test_test_classes_must_be_the_train_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 1, "b": 1})
    fill(tmp_path / "test", {"a": 1, "c": 1})
    with pytest.raises(LayerlinkError, match="got only in train: b; only in test: c"):
        load_folder(tmp_path)


def test_too_few_images_for_a_fifth(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(UsageError, match=r"expected at least 5 images.* got 4\."):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not an image", "expected a PNG, JPEG, WEBP, BMP image; got 12 bytes that do not decode"),
        (solid(3)[:50], "do not decode"),
        (encoded(np.zeros((8, 8), np.uint16), "PNG"), "expected 8 bits a channel; got mode I;16"),
        (solid(0, 1, 51), "expected sides of a ratio of at most 50; got 51x1"),
    ],
)
def test_an_image_that_is_wrong_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "b" / "004.png").write_bytes(data)
    with pytest.raises(LayerlinkError, match=rf"004\.png: {message}|004\.png: .*{message}"):
        load_folder(tmp_path, size=8)


def test_the_cache_knows_the_size_and_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "data", {"a": 5})
    decoded: list[int] = []
    whole = folder_module.decode_all

    def counting(count: int, *rest: object, **named: object) -> object:
        decoded.append(count)
        return whole(count, *rest, **named)

    monkeypatch.setattr(folder_module, "decode_all", counting)
    first = load_folder(root)
    assert torch.equal(load_folder(root).train.images, first.train.images)
    assert decoded == [5]
    assert load_folder(root, size=4).train.images.shape == (4, 3, 4, 4)
    (root / "a" / "new.png").write_bytes(solid(9))
    assert len(load_folder(root).train) == 5
    assert decoded == [5, 5, 6]


def test_bad_images_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", {"a": 5, "b": 5})
    (root / "a" / "000.png").write_bytes(b"not an image")
    (root / "b" / "001.png").write_bytes(b"")
    source = load_folder(root, size=8, skip_bad=True)
    labels = dict(zip(greys(source.train.images), source.train.labels.tolist(), strict=True))
    labels |= zip(greys(source.test.images), source.test.labels.tolist(), strict=True)
    assert labels == {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 7: 1, 8: 1, 9: 1}
    assert len(source.bad) == 2
    assert "000.png: expected a PNG" in source.bad[0]
    assert "001.png: " in source.bad[1]
    again = load_folder(root, size=8, skip_bad=True)  # from the cache
    assert torch.equal(again.train.images, source.train.images)
    assert again.bad == source.bad
    assert torch.equal(load_folder(root, skip_bad=True).train.images, source.train.images)  # the first one is bad
    with pytest.raises(LayerlinkError, match=r"000\.png: expected a PNG.* leave such images out with skip_bad"):
        load_folder(root, size=8)


def test_where_no_image_is_left_the_first_reason_is_told(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5})
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(LayerlinkError, match=r"000\.png: expected a PNG"):
        load_folder(tmp_path, size=8, skip_bad=True)


def test_an_image_that_says_it_is_huge_is_not_decoded(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5})
    huge = solid(0)
    head = huge.index(b"IHDR") + 4
    huge = huge[:head] + (60_000).to_bytes(4, "big") * 2 + huge[head + 8 :]
    crc = zlib.crc32(huge[head - 4 : head + 13])
    (tmp_path / "b" / "004.png").write_bytes(huge[: head + 13] + crc.to_bytes(4, "big") + huge[head + 17 :])
    with pytest.raises(LayerlinkError, match=r"004\.png"):
        load_folder(tmp_path, size=8)
    (tmp_path / "b" / "004.png").write_bytes(solid(0, 30, 30))
    with pytest.raises(LayerlinkError, match=r"30x30 pixels are more than 899\. Raise data\.most_pixels"):
        load_folder(tmp_path, size=8, most_pixels=899)
    assert len(load_folder(tmp_path, size=8, most_pixels=899, skip_bad=True).bad) == 1
    assert len(load_folder(tmp_path, size=8, most_pixels=900).train) == 8


def test_pipes_and_devices_among_images_are_told(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "b" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(LayerlinkError, match="neither a file nor a folder"):
        load_folder(tmp_path, size=8)
