"""Maps of labels of any size, numbers and bytes: the right ones, or told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cases import cases, damages
from layerlink.config.image_size import size_of
from layerlink.data.formats.fitted import cover
from layerlink.data.formats.label_map import fit_map, read_label_map
from layerlink.data.sources.segmentation import load_segmentation
from layerlink.errors import LayerlinkError

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, SIDES, SIDES)
@cases(1)
def test_a_map_is_scaled_as_torchs_nearest_and_cut_in_the_middle(high: int, wide: int, height: int, width: int) -> None:
    values = np.arange(high * wide, dtype=np.uint16).reshape(high, wide)
    covering, (top, left) = cover((high, wide), size_of(height, width))
    assert covering[0] >= height
    assert covering[1] >= width
    assert height in covering[:1] or width in covering[1:]
    found = fit_map(values, size_of(height, width))
    whole = torch.from_numpy(values.astype(np.float64))[None, None]
    expected = torch.nn.functional.interpolate(whole, size=covering, mode="nearest-exact")[0, 0]
    expected = expected[top : top + height, left : left + width]
    # A centre right between two pixels may go to either.
    centres = [(np.arange(n) + 0.5 + start) * side / scaled for n, start, side, scaled in
               ((height, top, high, covering[0]), (width, left, wide, covering[1]))]  # fmt: skip
    sure = [np.abs(each - each.round()) > 1e-4 for each in centres]
    both = sure[0][:, None] & sure[1][None, :]
    assert np.array_equal(found[both], expected.numpy()[both])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, draw = tmp_path_factory.mktemp("maps"), np.random.default_rng(0)
    for name in ("images", "labels"):
        (root / name).mkdir()
    for n in range(6):
        Image.fromarray(draw.integers(0, 256, (9, 12, 3)).astype(np.uint8)).save(root / f"images/{n}.png")
        Image.fromarray(draw.integers(0, 4, (9, 12)).astype(np.uint8)).save(root / f"labels/{n}.png")
    return root


@pytest.mark.parametrize("part", ["images", "labels"])
@given(data=st.data())
@cases(1)
def test_a_damaged_file_is_the_right_one_or_told(part: str, data: st.DataObject, folder: Path) -> None:
    right = load_segmentation(folder, size=(9, 12), cache=Path("/dev/null/none"))
    file = folder / part / "2.png"
    whole = file.read_bytes()
    file.write_bytes(data.draw(damages(whole)))
    try:
        found = load_segmentation(folder, size=(9, 12), cache=Path("/dev/null/none"))
    except LayerlinkError as error:
        assert "2.png" in str(error)
    else:
        assert torch.equal(found.train.labels, right.train.labels)
        assert torch.equal(found.test.labels, right.test.labels)
        assert found.train.images.shape == right.train.images.shape
    finally:
        file.write_bytes(whole)


@given(content=st.binary(max_size=200))
@cases(0.5)
def test_any_bytes_are_no_map_or_one(folder: Path, content: bytes) -> None:
    path = folder / "any.png"
    path.write_bytes(content)
    try:
        found = read_label_map(path, 10_000)
    except LayerlinkError as error:
        assert "any.png" in str(error)
    else:
        assert found.ndim == 2
    finally:
        path.unlink()


@given(names=st.dictionaries(st.sampled_from("abcdef"), st.booleans(), min_size=1), other=st.booleans())
@cases(0.5)
def test_whatever_lies_in_the_folders_is_read_in_pairs_or_told(
    names: dict[str, bool], other: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Some images without maps, some maps without images."""
    root = tmp_path_factory.mktemp("pairs")
    for each in ("images", "labels"):
        (root / each).mkdir(parents=True)
    pixels = Image.fromarray(np.zeros((4, 4), np.uint8))
    for name, both in names.items():
        pixels.convert("RGB").save(root / f"images/{name}.png")
        if both:
            pixels.save(root / f"labels/{name}.png")
    if other:
        pixels.save(root / "labels/other.png")
    alone = [name for name, both in names.items() if not both]
    try:
        found = load_segmentation(root, size=4, cache=Path("/dev/null/none"))
    except LayerlinkError as error:
        told = str(error)
        assert alone or other or len(names) < 5
        assert all(name in told for name in alone[:1])
        assert ("other" in told) == other or len(names) < 5
    else:
        assert not alone
        assert not other
        assert len(found.train) + len(found.test) == len(names)
