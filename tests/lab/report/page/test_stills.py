from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from layerlink.lab.report.files import write_figures, write_markdown
from layerlink.lab.report.page.page import Section, write_sections
from layerlink.lab.report.page.stills import Still, Stills


def stills() -> Stills:
    draw = np.random.default_rng(0)
    rows = tuple(
        tuple(
            Still(draw.integers(0, 256, (6, 8, 3)).astype(np.uint8), f"<row {n}> {name}") for name in ("image", "truth")
        )
        for n in range(3)
    )
    return Stills("maps", ("image", "<truth>"), rows, (((255, 0, 16), "<b>road</b>"), ((0, 0, 0), "ignored")))


def test_a_still_is_a_png_of_its_pixels() -> None:
    still = stills().rows[0][0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(still.png))), still.pixels)


def test_the_page_holds_every_image_and_says_what_colours_stand_for(tmp_path: Path) -> None:
    write_sections(
        tmp_path / "page.html", title="t", answer="a", sections=[Section("Maps", stills=stills())], provenance=[]
    )
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert 'alt="&lt;row 2&gt; truth"' in page
    assert "&lt;b&gt;road&lt;/b&gt;" in page
    assert "background: #ff0010" in page
    assert "<b>road" not in page
    assert "<truth>" not in page


def test_beside_markdown_images_are_files(tmp_path: Path) -> None:
    sections = [Section("Maps", stills=stills())]
    names = write_figures(tmp_path / "figures", sections)
    write_markdown(tmp_path / "r.md", title="t", answer="a", sections=sections, figures=names, provenance=[])
    text = (tmp_path / "r.md").read_text()
    for row in range(3):
        for column in range(2):
            name = f"maps-{row + 1}-{column + 1}.png"
            assert f"(figures/{name})" in text
            assert np.array_equal(
                np.asarray(Image.open(tmp_path / "figures" / name)), stills().rows[row][column].pixels
            )
    assert "`#ff0010` &lt;b>road&lt;/b>" in text
