from __future__ import annotations

import pytest

from layerlink.config.image_size import alike, largest, plain, read_size, shown, sides, size_of


def test_a_size_has_one_form() -> None:
    assert read_size(32) == read_size([32, 32]) == size_of(32, 32) == 32
    assert read_size([96, 128]) == read_size((96, 128)) == (96, 128)
    for size in (32, (96, 128)):
        assert read_size(plain(size)) == size
    assert sides(7) == (7, 7)
    assert shown((96, 128)) == "96x128"
    assert largest(32, (16, 64)) == (32, 64)
    assert largest(32, (32, 16)) == 32


@pytest.mark.parametrize("value", [0, 4097, [96], [1, 2, 3], [96, 0], "32", 3.5, True, None, [True, 5], {"a": 1}])
def test_what_is_no_size_is_told(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number in 1\.\.4096, or two of them, \[height, width\]"):
        read_size(value)


def test_sizes_are_alike_up_to_a_pixel() -> None:
    assert alike((96, 128), (192, 256))
    assert alike(32, 224)
    assert alike((96, 128), (97, 129))
    assert not alike((96, 128), 224)
    assert not alike((96, 128), (128, 96))
