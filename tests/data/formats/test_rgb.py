from __future__ import annotations

import pytest

from layerlink.data.formats.rgb import upright_rgb

Image = pytest.importorskip("PIL.Image")


def test_transparency_is_dropped_and_the_colour_stays() -> None:
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    assert (upright_rgb(image).mode, upright_rgb(image).getpixel((1, 0))) == ("RGB", (10, 20, 30))


def test_grey_palette_and_palette_with_transparency_become_rgb() -> None:
    assert upright_rgb(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert upright_rgb(palette).getpixel((0, 0)) == (200, 100, 50)
    palette.info["transparency"] = 0
    assert upright_rgb(palette).getpixel((0, 0)) == (200, 100, 50)


def test_an_image_on_its_side_is_turned() -> None:
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (255, 0, 0))
    image.getexif()[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = upright_rgb(image)
    assert turned.size == (1, 2)
    assert turned.getpixel((0, 0)) == (255, 0, 0)
