from __future__ import annotations

import importlib
import itertools
import math
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from layerlink.errors import LayerlinkError
from layerlink.lab.report.page.charts import DARK, DARK_BACKGROUND, LIGHT, LIGHT_BACKGROUND, to_svg
from layerlink.lab.report.page.curves import Curve, curve_chart, curve_panels

SVG = "{http://www.w3.org/2000/svg}"


def chart(*curves: Curve, runs: tuple[str, ...] | None = None) -> Any:
    return curve_chart(curves, title="Hard term", y_title="raw loss", runs=runs)


def y_axis(spec: dict[str, Any]) -> dict[str, Any]:
    y: dict[str, Any] = spec["layer"][0]["encoding"]["y"]
    return y


def scale(spec: dict[str, Any], channel: str) -> dict[str, Any]:
    found: dict[str, Any] = spec["layer"][0]["encoding"][channel]["scale"]
    return found


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (rows,) = spec["datasets"].values()
    return list(rows)


def test_a_row_is_an_epoch_counted_from_one() -> None:
    rows = values(chart(Curve("a", "accuracy", (81.25, 90.0), "%"), Curve("b", "accuracy", (70.0,), "%")).to_dict())
    assert rows == [
        {"run": "a", "epoch": 1, "value": 81.25, "text": "81.25 %"},
        {"run": "a", "epoch": 2, "value": 90.0, "text": "90 %"},
        {"run": "b", "epoch": 1, "value": 70.0, "text": "70 %"},
    ]


@pytest.mark.parametrize(
    ("curve", "title", "kind"),
    [
        (Curve("a", "hard", (2.0, 0.02)), "raw loss (log scale)", "log"),
        (Curve("a", "hard", (2.0, 0.0)), "raw loss", None),
        (Curve("a", "hard", (2.0, -1.0)), "raw loss", None),
        (Curve("a", "accuracy", (50.0, 90.0), "%"), "raw loss", None),
        (Curve("a", "hard", (2.0, math.nan, 0.5)), "raw loss (log scale)", "log"),
        (Curve("a", "hard", (math.nan,)), "raw loss", None),
    ],
)
def test_losses_above_zero_go_on_a_log_scale_that_says_so(curve: Curve, title: str, kind: str | None) -> None:
    y = y_axis(chart(curve).to_dict())
    assert y["title"] == title
    assert y["scale"].get("type") == kind


def test_log_ticks_are_round_and_inside() -> None:
    axis = y_axis(chart(Curve("a", "hard", (0.3, 0.004))).to_dict())["axis"]
    assert axis["values"] == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]


def test_a_value_that_is_not_finite_is_a_gap_and_is_named_in_words() -> None:
    rows = values(chart(Curve("a", "hard", (1.0, math.nan, math.inf))).to_dict())
    assert [(row["value"], row["text"]) for row in rows] == [(1.0, "1"), (None, "nan"), (None, "inf")]


def test_every_run_has_a_dash_of_its_own_and_keeps_it_where_others_are_missing() -> None:
    both = chart(Curve("a", "hard", (1.0,)), Curve("b", "hard", (2.0,)), runs=("a", "b")).to_dict()
    alone = chart(Curve("b", "hard", (2.0,)), runs=("a", "b")).to_dict()
    for channel in ("color", "strokeDash"):
        assert scale(both, channel)["domain"] == scale(alone, channel)["domain"] == ["a", "b"]
    dashes = scale(both, "strokeDash")["range"]
    assert dashes[0] != dashes[1]
    assert scale(alone, "strokeDash")["range"] == dashes
    assert alone["layer"][0]["encoding"]["color"]["legend"]["values"] == ["b"]


def test_looks_repeat_only_after_42_runs() -> None:
    runs = tuple(f"run {number}" for number in range(42))
    dashes = scale(chart(Curve("run 0", "hard", (1.0,)), runs=runs).to_dict(), "strokeDash")["range"]
    looks = {(place % len(LIGHT), tuple(dash)) for place, dash in enumerate(dashes)}
    assert len(looks) == 42
    with pytest.raises(ValueError, match=r"^colour and dash tell 42 runs apart; got 43\. Make several charts$"):
        chart(Curve("run 0", "hard", (1.0,)), runs=(*runs, "one more"))


@pytest.mark.parametrize(
    ("curves", "runs", "message"),
    [
        ((), None, "a chart needs at least one curve with at least one value"),
        ((Curve("a", "hard", ()),), None, "a chart needs at least one curve with at least one value"),
        (
            (Curve("a", "hard", (1.0,)), Curve("b", "soft", (1.0,))),
            None,
            "a chart shows one quantity; got 'hard', 'soft'. Make one chart of each",
        ),
        (
            (Curve("a", "hard", (1.0,)), Curve("a", "hard", (2.0,))),
            None,
            "a chart shows one curve a run; got more of 'a'",
        ),
        ((Curve("a", "hard", (1.0,)),), ("b",), "runs must name every run of the chart; it lacks 'a'"),
    ],
)
def test_curves_that_make_no_chart(curves: tuple[Curve, ...], runs: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        chart(*curves, runs=runs)
    assert str(caught.value) == message


@pytest.mark.parametrize("epochs", [1, 2, 3, 12, 13, 50, 300])
def test_epochs_are_whole_and_each_tick_is_another(epochs: int) -> None:
    # Percent from 500 on: no tick of the y-axis can be taken for an epoch.
    text = to_svg(chart(Curve("a", "accuracy", tuple(500.0 + epoch for epoch in range(epochs)), "%")))
    words = [element.text or "" for element in ET.fromstring(text).iter(f"{SVG}text")]
    ticks = [int(word) for word in words if word.isdigit() and int(word) < 500]
    assert ticks == sorted(set(ticks))
    assert ticks[-1] <= epochs
    assert len(ticks) >= min(epochs, 4)


def test_svg_is_dark_ink_on_white_with_names_title_and_a_line_a_run() -> None:
    text = to_svg(chart(Curve("a", "hard", (1.0, 0.1, 0.02)), Curve("<b> & c", "hard", (2.0, 0.5, 0.3))))
    root = ET.fromstring(text)
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {"Hard term", "epoch", "raw loss (log scale)", "a", "<b> & c"} <= words
    assert 'fill="white"' in text or 'fill="#ffffff"' in text
    assert "currentColor" not in text
    assert "var(" not in text
    assert 640 <= float(root.attrib["width"]) <= 720
    lines = [
        element
        for element in root.iter(f"{SVG}path")
        if element.get("stroke") in LIGHT and element.get("fill") is None and element.get("d", "").count("L") == 2
    ]
    assert [line.get("stroke") for line in lines] == list(LIGHT[:2])


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    for name in ("charts", "vega"):
        monkeypatch.delitem(sys.modules, f"layerlink.lab.report.page.{name}")
    with pytest.raises(LayerlinkError, match=r"need the package 'altair', .* pip install 'layerlink\[page\]'$"):
        importlib.import_module("layerlink.lab.report.page.charts")


# Colours, by the published definitions: contrast ratio of WCAG 2.1; CIE L*a*b* with white D65; simulated dichromacy
# of Machado, Oliveira and Fernandes (2009), table of severity 1.0.
SIGHT = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> list[float]:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, other: str) -> float:
    lights = [
        sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(c), strict=True))
        for c in (one, other)
    ]
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def seen(colour: str, sight: str) -> tuple[float, float, float]:
    """L*, a*, b* of the colour as someone with this sight sees it."""
    rgb = [min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear(colour), strict=True)))) for row in SIGHT[sight]]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    xyz = [sum(a * b for a, b in zip(row, rgb, strict=True)) / w for row, w in zip(to_xyz, white, strict=True)]
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_the_colour_measures_know_black_from_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert seen("#ffffff", "full") == pytest.approx((100, 0, 0), abs=0.05)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("palette", "ground"), [(LIGHT, LIGHT_BACKGROUND), (DARK, DARK_BACKGROUND)])
def test_colours_are_told_apart_whatever_the_sight(palette: tuple[str, ...], ground: str, sight: str) -> None:
    assert min(contrast(colour, ground) for colour in palette) >= 3  # WCAG 1.4.11, graphics
    apart = [math.dist(seen(a, sight), seen(b, sight)) for a, b in itertools.combinations(palette, 2)]
    assert min(apart) >= 25  # about ten times what can just be seen


def labels(svg: str) -> list[str]:
    """The labels of a figure's axes."""
    axes = [group for group in ET.fromstring(svg).iter(f"{SVG}g") if "role-axis-label" in group.get("class", "")]
    return [text.text or "" for group in axes for text in group.iter(f"{SVG}text") if text.get("opacity") != "0"]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(1e-4, 1e-2, {"0.0001", "0.01"}), (10.0, 60.0, {"10", "20", "50"}), (2e3, 4e5, {"10,000", "200,000"})],
)
def test_numbers_read_as_people_write_them(low: float, high: float, wanted: set[str]) -> None:
    found = labels(to_svg(chart(Curve("a", "hard", (low, high, (low * high) ** 0.5)))))
    assert wanted <= set(found)
    assert not [text for text in found if "e" in text]


@pytest.mark.parametrize("epochs", [10, 60, 200])
def test_epochs_are_whole_numbers_however_many_there_are(epochs: int) -> None:
    found = labels(to_svg(chart(Curve("a", "accuracy", tuple(range(1, epochs + 1)), "%"))))
    assert all(text.replace(",", "").isdigit() for text in found), found


def test_panels_share_legend_and_colours_and_keep_their_own_axes() -> None:
    runs = ["a", "b"]
    terms = [
        ("hard", [Curve("a", "hard", (2.0, 0.5)), Curve("b", "hard", (1.0, 0.2))]),
        ("accuracy in %", [Curve("b", "accuracy", (50.0, 60.0), "%")]),
        ("group3 : mse", [Curve("a", "group3 : mse", (1e-3, 1e-4))]),
    ]
    spec = curve_panels(terms, title="Terms", runs=runs).to_dict()
    assert [" ".join(panel["title"]["text"]) for panel in spec["concat"]] == [
        "hard (log scale)",
        "accuracy in %",
        "group3 : mse (log scale)",
    ]
    assert spec["resolve"]["scale"] == {"color": "shared", "strokeDash": "shared"}
    svg = to_svg(curve_panels(terms, title="Terms", runs=runs))
    legends = [group for group in ET.fromstring(svg).iter(f"{SVG}g") if "role-legend-label" in group.get("class", "")]
    assert [text.text for group in legends for text in group.iter(f"{SVG}text")] == runs
    with pytest.raises(ValueError, match="needs at least one"):
        curve_panels([], title="Terms", runs=runs)
    with pytest.raises(ValueError, match="shows one quantity"):
        curve_panels([("x", [Curve("a", "x", (1.0,)), Curve("b", "y", (1.0,))])], title="Terms", runs=runs)
