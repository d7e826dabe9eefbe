from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layerlink.data import Source, load_source
from layerlink.errors import LayerlinkError, UsageError

HEIGHT, WIDTH = 6, 8


def write_image(path: Path, shade: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), shade, dtype=np.uint8)).save(path)


def write_map(path: Path, number: int, size: tuple[int, int] = (HEIGHT, WIDTH), corner: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full(size, number, dtype=np.uint8)
    if corner is not None:
        values[0, 0] = corner
    Image.fromarray(values).save(path)


def write(root: Path, image: str, label: str, names: dict[str, int]) -> None:
    """Images whose shade is ten times the number in their map."""
    for name, number in names.items():
        write_image(root / image.format(name), 10 * number % 256)
        write_map(root / label.format(name), number)


def load(root: Path, cache: Path | None = None, **more: object) -> Source:
    size = more.pop("size", (HEIGHT, WIDTH))
    skip_bad = bool(more.pop("skip_bad", False))
    return load_source(
        "segmentation", root, size=size, cache=cache or root.parent / "cache", skip_bad=skip_bad, arguments=more  # type: ignore[arg-type]
    )  # fmt: skip


def numbers(source: Source, part: str) -> list[int]:
    """Of each image of a part the number in its map, which its shade says as well."""
    found = getattr(source, part)
    shades = found.images.float().mean((1, 2, 3))
    labels = found.labels.float().mean((1, 2))
    assert torch.equal(shades, 10 * labels)
    return [int(number) for number in labels]


TRAIN, VAL, TEST = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 1}, {"f": 2, "g": 3}, {"h": 1, "i": 0}


def lay_out(root: Path, name: str) -> None:
    for part, names in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        if name == "parts with both inside":
            write(root, f"{part}/images/{{}}.png", f"{part}/labels/{{}}.png", names)
        elif name == "both with parts inside":
            words = {"train": "training", "val": "validation", "test": "testing"}
            write(root, f"images/{words[part]}/{{}}.jpg", f"annotations/{words[part]}/{{}}.png", names)
        elif name == "cityscapes":
            image, label = "x/{}_leftImg8bit.png", "x/{}_gtFine_labelTrainIds.png"
            write(root, f"leftImg8bit/{part}/{image}", f"gtFine/{part}/{label}", names)
            for each in names:
                write_image(root / f"gtFine/{part}/x/{each}_gtFine_color.png", 9)
                write_map(root / f"gtFine/{part}/x/{each}_gtFine_instanceIds.png", 200)
        elif name == "voc":
            write(root, "JPEGImages/{}.png", "SegmentationClass/{}.png", names)
            write_image(root / "JPEGImages/without.png", 5)
            lists = root / "ImageSets/Segmentation"
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
            (lists / "trainval.txt").write_text("a\nb\n")
        elif name == "segnet":
            write(root, f"{part}/{{}}.png", f"{part}annot/{{}}.png", names)
        elif name == "lists":
            write(root, "images/{}.png", "labels/{}_P.png", names)
            rows = (f"/data/images/{each}.png /data/labels/{each}_P.png" for each in names)
            (root / f"{part}.txt").write_text("\r\n".join(rows))


@pytest.mark.parametrize(
    "name", ["parts with both inside", "both with parts inside", "cityscapes", "voc", "segnet", "lists"]
)
def test_the_usual_layouts(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    lay_out(root, name)
    source = load(root)
    assert [numbers(source, part) for part in ("train", "validation", "test")] == [
        list(TRAIN.values()),
        list(VAL.values()),
        list(TEST.values()),
    ]
    assert source.train.labels.dtype == torch.uint8
    assert source.train.classes == ("0", "1", "2", "3")
    again = load(root)  # from the cache
    assert torch.equal(again.train.images, source.train.images)
    assert torch.equal(again.test.labels, source.test.labels)
    assert again.notes == source.notes
    assert again.notes[0].startswith("train: ")


def test_without_parts_a_fifth_is_kept_apart_and_names_come_from_a_file(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "image/{}.png", "mask/{}_mask.png", {f"n{n:02}": n % 2 for n in range(10)})
    (root / "classes.txt").write_text("ground\nhouse\n\n")
    source = load(root)
    assert (len(source.train), len(source.test), source.validation) == (8, 2, None)
    assert source.train.classes == ("ground", "house")
    assert load(root).test.labels.flatten()[0] == source.test.labels.flatten()[0]


def test_only_a_list_to_validate_on_leaves_the_rest_to_train_on(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "images/{}.png", "labels/{}.png", {f"n{n}": n % 3 for n in range(8)})
    (root / "valid.txt").write_text("n1.png\nn2.png\n")
    source = load(root)
    assert numbers(source, "validation") == [1, 2]
    assert len(source.train) + len(source.test) == 6


def test_image_and_map_are_scaled_and_cut_alike(tmp_path: Path) -> None:
    root = tmp_path / "data"
    stripes = np.repeat(np.arange(20) % 10, 4)[None, :].repeat(40, 0)  # 40 x 80, a number every four columns
    for n in range(5):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "labels").mkdir(parents=True, exist_ok=True)
        Image.fromarray((stripes * 20).astype(np.uint8)).convert("RGB").save(root / f"images/{n}.png")
        Image.fromarray(stripes.astype(np.uint8)).save(root / f"labels/{n}.png")
    source = load(root, size=(20, 20), classes=10)
    # Half the size, and of 40 columns the middle 20: source columns 20 to 60, two a column.
    expected = torch.from_numpy(stripes[0, 20:60:2].astype(np.uint8))
    assert torch.equal(source.train.labels[0], expected[None].expand(20, 20))
    assert float((source.train.images[0, 0].float() - 20 * expected).abs().mean()) < 25  # edges are means of both
    untouched = load(root, size=None, classes=10)
    assert torch.equal(untouched.train.labels[0], torch.from_numpy(stripes.astype(np.uint8)))
    assert torch.equal(untouched.train.images[0, 0], torch.from_numpy((stripes * 20).astype(np.uint8)))


def save_as(values: np.ndarray, mode: str, path: Path) -> None:
    if mode == "P":
        image = Image.fromarray(values.astype(np.uint8)).convert("L")
        palette = Image.new("P", image.size)
        palette.putpalette([value for n in range(256) for value in (255 - n, n, (n * 7) % 256)])
        palette.putdata(values.flatten().tolist())
        palette.save(path)
    elif mode == "I;16":
        Image.fromarray(values.astype(np.uint16)).save(path)
    elif mode.startswith("grey"):  # Pillow writes no 2 and 4 bits of grey
        write_grey(values, int(mode[4:]), path)
    else:
        Image.fromarray(values.astype(np.uint8)).save(path)


def write_grey(values: np.ndarray, bits: int, path: Path) -> None:
    """A PNG of so many bits a pixel."""
    import struct
    import zlib

    height, width = values.shape
    rows = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row).ljust(-(-width * bits // 8) * 8, "0")
        rows += b"\0" + bytes(int(text[n : n + 8], 2) for n in range(0, len(text), 8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("mode", "most"), [("L", 200), ("P", 200), ("I;16", 60_000), ("grey1", 1), ("grey2", 3), ("grey4", 15)]
)
def test_numbers_in_maps_are_read_as_they_stand(tmp_path: Path, mode: str, most: int) -> None:
    root, draw = tmp_path / "data", np.random.default_rng(0)
    (root / "labels").mkdir(parents=True)
    written = []
    for n in range(5):
        write_image(root / f"images/{n}.png", 50)
        values = draw.integers(0, most + 1, (HEIGHT, WIDTH))
        written.append(values)
        save_as(values, mode, root / f"labels/{n}.png")
    source = load(root, classes=most + 2, ignore=None)
    found = sorted(tuple(each.flatten().tolist()) for part in (source.train, source.test) for each in part.labels)
    assert found == sorted(tuple(each.flatten().tolist()) for each in written)
    assert source.train.labels.dtype == (torch.int32 if most > 255 else torch.uint8)


def test_numbers_become_classes_where_their_names_say_so(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "images/{}.png", "labels/{}.png", {"a": 7, "b": 8, "c": 9, "d": 3, "e": 7})
    source = load(root, classes={"road": 7, "car": [8, 9]})
    every = torch.cat([source.train.labels, source.test.labels]).flatten(1)[:, 0]
    assert sorted(every.tolist()) == [0, 0, 1, 1, 255]
    assert source.train.classes == ("road", "car")
    assert "pixels of other numbers are ignored" in source.notes[1]
    with pytest.raises(UsageError, match=r"task\.arguments\.ignore must be 2 or more"):
        load(root, classes={"road": 7, "car": 8}, ignore=1)
    with pytest.raises(UsageError, match="each of one class"):
        load(root, classes={"road": 7, "car": [7, 8]})


def test_cityscapes_numbers_are_its_nineteen_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    image, label = "leftImg8bit/train/x/{}_leftImg8bit.png", "gtFine/train/x/{}_gtFine_labelIds.png"
    write(root, image, label, {"a": 7, "b": 0, "c": 33, "d": 11, "e": 24})
    source = load(root)
    every = torch.cat([source.train.labels, source.test.labels]).flatten(1)[:, 0]
    assert sorted(every.tolist()) == [0, 2, 11, 18, 255]
    assert source.train.classes[:3] == ("road", "sidewalk", "building")


def test_everything_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "images/{}.png", "labels/{}.png", {f"n{n}": 1 for n in range(6)})
    write_image(root / "images/alone.png", 1)
    write_map(root / "labels/lost.png", 1)
    write_image(root / "images/n1.jpg", 1)
    with pytest.raises(LayerlinkError) as found:
        load(root)
    told = str(found.value)
    assert "1 of 7 images have no map of labels: alone" in told
    assert "1 of 7 maps have no image: lost" in told
    assert "n1.jpg and n1.png are both called 'n1'" in told or "n1.png and n1.jpg are both called 'n1'" in told
    assert "train.txt" in told


def test_numbers_of_no_class_are_told_with_all_of_them(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "images/{}.png", "labels/{}.png", {"a": 0, "b": 1, "c": 2, "d": 9, "e": 12})
    with pytest.raises(
        LayerlinkError,
        match=r"0\.\.1, for the 2 classes of data.arguments.classes, and 9 is ignored; got 2, 12 in 2 maps",
    ):
        load(root, classes=["x", "y"], ignore=9)
    with pytest.raises(LayerlinkError, match="none is ignored; got 2, 9, 12 in 3 maps, the first"):
        load(root, classes=2, ignore=None)


def test_maps_of_other_sizes_and_colours_and_damaged_files(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "images/{}.png", "labels/{}.png", {f"n{n}": n % 2 for n in range(12)})
    write_map(root / "labels/n3.png", 1, (HEIGHT, WIDTH - 1))
    (root / "images/n5.png").write_bytes(b"no image")
    (root / "labels/n7.png").write_bytes((root / "labels/n7.png").read_bytes()[:50])
    with pytest.raises(LayerlinkError) as found:
        load(root)
    told = str(found.value)
    assert "3 images or maps are bad" in told
    assert "n3.png: expected a map of its image's size, 8x6; got 7x6" in told
    assert "n5.png: expected a PNG" in told
    assert "n7.png: expected a PNG image" in told
    source = load(root, skip_bad=True)
    assert len(source.bad) == 3
    assert len(source.train) + len(source.test) == 9
    write_image(root / "labels/n9.png", 3)
    with pytest.raises(
        LayerlinkError, match=r"n9.png: expected one number a pixel.*got colours \(mode RGB\).*mode L or P"
    ):
        load(root, skip_bad=True)


def test_where_nothing_fits_it_is_said_what_would(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(UsageError, match="needs root"):
        load_source("segmentation", None)
    with pytest.raises(UsageError, match="does not exist"):
        load(root)
    (root / "pictures").mkdir(parents=True)
    with pytest.raises(UsageError, match="expected images/ and labels/; got pictures/"):
        load(root)
    write(root / "set", "pictures/{}.png", "truth/{}.png", {f"n{n}": n % 2 for n in range(5)})
    with pytest.raises(UsageError, match=r"data\.root=.*set"):
        load(root, images="pictures", labels="truth")
    assert len(load(root / "set", images="pictures", labels="truth").train) == 4
    with pytest.raises(UsageError, match=r"unknown argument 'label'. Did you mean labels"):
        load(root, label="truth")
    with pytest.raises(UsageError, match="expected 2 or more names of classes, each once: 'x' stands there twice"):
        load(root / "set", images="pictures", labels="truth", classes=["x", "x"])
    shutil.rmtree(root / "set/truth")
    write(root / "set", "pictures/{}.png", "truth/{}.jpg", {f"n{n}": n % 2 for n in range(5)})
    with pytest.raises(LayerlinkError, match="expected maps of labels as PNG; got 5 of other endings"):
        load(root / "set", images="pictures", labels="truth")


def test_a_test_part_without_labels_is_refused_and_one_without_maps_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "train/images/{}.png", "train/labels/{}.png", {f"n{n}": n % 2 for n in range(5)})
    write_image(root / "test/images/x.png", 1)
    source = load(root)
    assert source.warnings == ("test/ holds no folder of maps of labels and is not read",)
    assert len(source.test) == 1  # a fifth of train
    write_map(root / "test/labels/x.png", 255)
    with pytest.raises(LayerlinkError, match="no pixel of 1 maps has a label that counts"):
        load(root)
