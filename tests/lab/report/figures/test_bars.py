from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from layerlink.lab.report.figures.bars import Point, Reference, axis_chart, row_chart
from layerlink.lab.report.figures.curves import time_chart
from layerlink.lab.report.figures.heat_maps import confusion_chart, similarity_chart
from layerlink.lab.report.measured.similarity import Similarity
from layerlink.lab.report.page.charts import LIGHT, to_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</script><b>&"
POINTS = [
    Point("T=1", {0: 70.0, 1: 71.0, 2: 72.0}, 76.5, 1.0),
    Point("T=2", {0: 73.0}, 77.4, 2.0),
    Point(HOSTILE, {0: 60.0, 1: 62.0}, None, 40.0),
]
REFERENCES = [Reference("teacher", 80.0), Reference("labels only", 65.0)]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def data(chart: Any, mark: str) -> list[dict[str, Any]]:
    """The rows of every layer with this mark."""
    spec = chart.to_dict()
    found = []
    for layer in spec["layer"]:
        if layer["mark"]["type"] == mark:
            source = layer.get("data", spec.get("data"))  # shared by all layers, or a layer's own
            found += source.get("values") or spec["datasets"][source["name"]]
    return found


def test_an_axis_shows_mean_bar_every_seed_and_what_was_published() -> None:
    chart = axis_chart(POINTS, axis="soft.temperature", references=REFERENCES)
    means = [row for row in data(chart, "circle") if row["series"] == "ours"]
    assert [(row["x"], row["value"], row["low"], row["high"], row["n"]) for row in means] == [
        (1.0, 71.0, 70.0, 72.0, 3),
        (2.0, 73.0, 73.0, 73.0, 1),
        (40.0, 61.0, pytest.approx(61 - 2**0.5), pytest.approx(61 + 2**0.5), 2),
    ]
    assert [row["text"] for row in means] == ["71.00 %, sd 1.00", "73.00 %, one seed", "61.00 %, sd 1.41"]
    rings = [row for row in data(chart, "point") if row["series"] == "ours"]
    assert [(row["x"], row["seed"], row["value"]) for row in rings] == [
        (1.0, "0", 70.0),
        (1.0, "1", 71.0),
        (1.0, "2", 72.0),
        (2.0, "0", 73.0),
        (40.0, "0", 60.0),
        (40.0, "1", 62.0),
    ]
    published = [row for row in data(chart, "point") if row["series"] == "published"]
    assert [(row["x"], row["value"]) for row in published] == [(1.0, 76.5), (2.0, 77.4)]
    words = texts(to_svg(chart))
    for word in (
        "soft.temperature (log scale)",
        "test accuracy in %, mean and sd, n = 1 to 3",
        "teacher 80.0 %",
        "labels only 65.0 %",
    ):
        assert word in words
    assert {"1", "2", "40", "ours", "published"} <= set(words)


@pytest.mark.parametrize(
    ("places", "title"),
    [((1.0, 2.0, 9.0), "lr"), ((1.0, 10.0), "lr (log scale)"), ((0.0, 100.0), "lr"), ((-1.0, 100.0), "lr")],
)
def test_a_wide_positive_axis_is_logarithmic_and_says_so(places: tuple[float, ...], title: str) -> None:
    points = [Point(f"{x}", {0: 50.0 + x / 9}, None, x) for x in places]
    assert title in texts(to_svg(axis_chart(points, axis="lr")))


def test_series_are_lines_of_their_own_and_ours_keeps_its_colour() -> None:
    points = [
        Point(f"{series}{x}", {0: 50.0 + x}, None, x, series) for series in ("t_squared=true", "no") for x in (1.0, 2.0)
    ]
    chart = axis_chart(points, axis="T")
    domain = chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert (domain[1], domain[4]) == ("t_squared=true", "no")
    svg = to_svg(chart)
    lines = re.findall(r'<path [^>]*aria-roledescription="line mark"[^>]*>|<path [^>]*stroke="([^"]+)"[^>]*>', svg)
    assert {LIGHT[1], LIGHT[4]} <= set(lines)


def test_rows_keep_their_order_and_lines_are_told_in_the_legend() -> None:
    svg = to_svg(row_chart(POINTS, references=REFERENCES))
    words = texts(svg)
    assert [word for word in words if word in ("T=1", "T=2", HOSTILE)] == ["T=1", "T=2", HOSTILE]
    assert {"teacher 80.0 %", "labels only 65.0 %"} <= set(words)
    symbols = [group for group in ET.fromstring(svg).iter(f"{SVG}g") if "role-legend-symbol" in group.get("class", "")]
    drawn = ["A" in path.get("d", "") for group in symbols for path in group.iter(f"{SVG}path")]  # an arc, or a line
    assert drawn == [True, True, False, False]  # ours, published; the teacher, labels only


def test_time_runs_along_the_axis() -> None:
    lines = {"a": [(10.0, 40.0), (20.5, 50.0)], "b": [(30.0, 45.0)]}
    chart = time_chart(lines, runs=["teacher", "a", "b"], seeds="n = 2")
    rows = data(chart, "line")
    assert [(row["run"], row["x"], row["epoch"]) for row in rows] == [("a", 10.0, 1), ("a", 20.5, 2), ("b", 30.0, 1)]
    assert "training time in seconds" in texts(to_svg(chart))
    assert chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["teacher", "a", "b"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: axis_chart([], axis="x"),
        lambda: axis_chart([Point("a", {0: 1.0})], axis="x"),
        lambda: row_chart([]),
        lambda: time_chart({"a": []}, runs=["a"], seeds="n = 1"),
        lambda: similarity_chart([], title="t"),
        lambda: confusion_chart([[1] * 41] * 41, ["c"] * 41, down="a", across="b", title="t"),
    ],
)
def test_what_makes_no_chart(make: Any) -> None:
    with pytest.raises(ValueError, match=r"needs at least one|at most 40 classes"):
        make()


def confusion() -> Any:
    counts = [[90, 9, 1], [40, 60, 0], [0, 0, 0]]
    return confusion_chart(counts, ["cat", HOSTILE, HOSTILE], down="true class", across="answer", title="Confusion")


def test_a_confusion_is_percent_of_a_row() -> None:
    rows = data(confusion(), "text")
    assert [row["text"] for row in rows] == ["90", "9", "1", "40", "60", "", "", "", ""]
    assert rows[0]["images"] == "90 of 100"
    assert rows[4]["told"] == "60.0 %"
    assert {row["down"] for row in rows} == {"cat", f"{HOSTILE} (1)", f"{HOSTILE} (2)"}


def light(colour: str) -> float:
    if colour.startswith("#"):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    else:
        parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrasts(svg: str, count: int) -> list[float]:
    """Contrast ratio (WCAG 2.1) of every cell's number to its cell, both in drawing order."""
    cells = re.findall(r'aria-roledescription="rect mark"[^>]*? fill="([^"]+)"', svg)
    inks = re.findall(r'aria-roledescription="text mark"[^>]*?fill="([^"]+)"', svg)
    assert len(cells) == len(inks) == count
    pairs = [sorted((light(cell), light(ink))) for cell, ink in zip(cells, inks, strict=True)]
    return [(high + 0.05) / (low + 0.05) for low, high in pairs]


def test_every_number_stands_out_from_its_cell() -> None:
    names = [str(number) for number in range(20)]
    steps = [[round(1000 * (i * 20 + j) / 399) for j in range(20)] for i in range(20)]
    # A last column takes what is left of each 1000: shares run through the whole scale.
    shares = [[value, 1000 - value] for row in steps for value in row][:20]
    chart = confusion_chart([row + [0] * 18 for row in shares], names, down="a", across="b", title="c")
    assert min(contrasts(to_svg(chart), 400)) >= 4.5
    cells = [Similarity(f"{value:.2f}", "after", value, False) for value in (number / 50 for number in range(51))]
    assert min(contrasts(to_svg(similarity_chart(cells, title="CKA")), 51)) >= 4.5


def test_similarity_says_values_pairs_and_which_are_linked() -> None:
    cells = [
        Similarity("group2", "links, before", 0.25, True),
        Similarity("group2", "links, after", 0.95, True),
        Similarity("hidden", "links, after", 0.5, False),
    ]
    svg = to_svg(similarity_chart(cells, title="CKA"))
    assert {"0.25", "0.95", "0.50", "group2", "hidden", "links, before"} <= set(texts(svg))
    bold = re.findall(r'font-weight="(?:bold|700)"[^>]*>([^<]+)<', svg)
    assert {"0.25", "0.95"} <= set(bold)
    assert "0.50" not in bold


def test_a_missing_package_is_named_by_the_report_too() -> None:
    code = "import sys; sys.modules['altair'] = None\n"
    code += "from layerlink.errors import LayerlinkError\n"
    code += "try:\n    import layerlink.lab.report.building\nexcept LayerlinkError as error:\n    print(error)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "need the package 'altair'" in told
    assert told.strip().endswith("pip install 'layerlink[page]'")
