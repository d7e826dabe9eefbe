from __future__ import annotations

import re

import altair as alt
import pytest

from layerlink.lab.report.page.charts import to_svg
from layerlink.lab.report.page.text_width import text_width, with_fixed_widths

LETTERS = [chr(code) for code in range(33, 127)]
GROUPS = ["".join(LETTERS[start : start + 10]) for start in range(0, len(LETTERS), 10)]


def laid_out(text: str, weight: int) -> float:
    """The width that the renderer gives a label of an axis: how far it moves what is right of it."""
    axis = alt.Axis(labelFontSize=20, labelLimit=10_000, labelPadding=0, labelFontWeight=weight, title=None)  # type: ignore[arg-type]

    def place(label: str) -> float:
        chart = alt.Chart(alt.InlineData(values=[{"y": label}])).mark_point().encode(y=alt.Y("y:N", axis=axis))
        found = re.search(r'transform="translate\(([0-9.]+),', to_svg(chart.properties(width=50, height=50)))
        assert found is not None
        return float(found[1])

    return place(text * 10) - place(text)


@pytest.mark.parametrize("weight", [400, 700])
@pytest.mark.parametrize("text", GROUPS)
def test_widths_are_those_that_the_renderer_lays_out_with(text: str, weight: int) -> None:
    assert laid_out(text, weight) == pytest.approx(9 * text_width(text, 20, bold=weight == 700), abs=2)


def test_marks_add_nothing_and_wide_letters_count_whole() -> None:
    assert text_width("é", 10) == text_width("e", 10)
    assert text_width("語", 10) == 10
    assert text_width("“±”", 1000) == 333 + 584 + 333


def test_every_text_gets_its_length_once_and_nothing_else_changes() -> None:
    svg = '<svg><text font-size="10px" x="1">a &amp; b</text><text font-size="10px"> </text><path d=""/></svg>'
    fixed = with_fixed_widths(svg)
    width = text_width("a & b", 10)
    assert fixed == svg.replace(
        '<text font-size="10px" x="1">',
        f'<text font-size="10px" x="1" textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs">',
    )
    assert with_fixed_widths(fixed) == fixed
    lines = with_fixed_widths(
        '<text font-size="10px" y="2"><tspan>a &amp; b</tspan><tspan x="0" dy="9">c</tspan></text>'
    )
    assert re.findall(r'<(\w+)[^>]* textLength="([0-9.]+)"', lines) == [
        ("tspan", f"{width:.2f}"),
        ("tspan", f"{text_width('c', 10):.2f}"),
    ]
    assert with_fixed_widths(lines) == lines
    bold = with_fixed_widths(svg.replace('x="1"', 'font-weight="600"'))
    assert f'textLength="{text_width("a & b", 10, bold=True):.2f}"' in bold
