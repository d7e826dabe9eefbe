from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from layerlink.errors import LayerlinkError
from layerlink.lab.report.page.curves import Curve, curve_chart
from layerlink.lab.report.page.page import Cell, Picture, Section, Table, _inline, write_sections

HOSTILE = "</script><img src=x onerror=window.broken=1><!-- \"'&"
ANSWER = "Students with links read 97.4 % right <b>&"
RUNS = ("teacher", "labels only", HOSTILE)
MODELS = Table(
    ("model", "accuracy", "images", "seconds"),
    (
        ("teacher", Cell("98.6 %", 98.6), 1_234_567, 9.5),
        ("run 10", Cell("9.7 %", 9.7), 20, 120.0),
        ("run 9", Cell("-"), 300, 31.25),
        (HOSTILE, Cell("97.0 %", 97.0), 4, math.nan),
    ),
    note=f"n = 1 {HOSTILE}",
)


def accuracy() -> Any:
    curves = [
        Curve(run, "validation accuracy", (50.0 + 9 * place, 80.0 + place, 90.0 + place), "%")
        for place, run in enumerate(RUNS)
    ]
    return curve_chart(curves, title="Validation accuracy", y_title="accuracy in %", runs=RUNS)


def hard() -> Any:
    curves = [Curve(run, HOSTILE, (2.0 - place * 0.1, 0.3, 0.02)) for place, run in enumerate(RUNS[1:])]
    return curve_chart(curves, title=HOSTILE, y_title=HOSTILE, runs=RUNS)


def write_page(
    path: Path, *, tables: Sequence[tuple[str, Table]], charts: Sequence[tuple[str, Any]], **words: Any
) -> None:
    sections = [Section(heading, table) for heading, table in tables]
    pictures = tuple(Picture(heading, chart, wide=True) for heading, chart in charts)
    write_sections(path, sections=[*sections, *([Section("Curves", pictures=pictures)] if charts else [])], **words)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "new folder" / "index.html"
    write_page(
        path,
        title=f"One teacher, three students {HOSTILE}",
        answer=ANSWER,
        tables=[("Models", MODELS)],
        charts=[("Validation accuracy", accuracy()), (f"Term: {HOSTILE}", hard())],
        provenance=[("repeat", "layerlink quickstart --seed 3"), ("repeat", HOSTILE), ("torch", "2.6.0")],
    )
    return path


class Reading(HTMLParser):
    """Elements in order, each with its attributes and own text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag not in ("meta", "link", "img"):
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open[-1]][0] == tag, f"</{tag}> closes <{self.elements[self.open[-1]][0]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.elements[self.open[-1]][2].append(data)

    def texts(self, *tags: str) -> list[str]:
        return ["".join(text).strip() for tag, _, text in self.elements if tag in tags]

    def attributes(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes, _ in self.elements if tag in tags]


@pytest.fixture(scope="module")
def reading(page: Path) -> Reading:
    return Reading(page.read_text("utf-8"))


def test_answer_then_tables_then_charts_then_what_was_run(reading: Reading) -> None:
    assert reading.open == []
    assert reading.texts("title", "h1") == [f"One teacher, three students {HOSTILE}"] * 2
    order = [
        ("".join(text).strip() or tag)
        for tag, attributes, text in reading.elements
        if tag in ("h2", "table") or attributes.get("class") in ("answer", "chart")
    ]
    assert order == [ANSWER, "Models", "table", "Curves", "div", "div", "What was run"]
    assert reading.texts("h3") == ["Validation accuracy", f"Term: {HOSTILE}"]
    assert reading.texts("dt") == ["repeat", "repeat", "torch"]
    assert reading.texts("dd") == ["layerlink quickstart --seed 3", HOSTILE, "2.6.0"]


def test_table_shows_and_sorts_by_what_was_given(reading: Reading) -> None:
    cells = [
        ("".join(text), attributes["data-kind"], attributes["data-key"])
        for _, attributes, text in reading.elements
        if "data-kind" in attributes
    ]
    assert cells[:4] == [
        ("teacher", "text", "teacher"),
        ("98.6 %", "number", "98.6"),
        ("1,234,567", "number", "1234567"),
        ("9.5", "number", "9.5"),
    ]
    assert cells[9] == ("-", "missing", "")
    assert cells[12] == (HOSTILE, "text", HOSTILE)
    assert cells[15] == ("nan", "missing", "")
    headers = [attributes for attributes in reading.attributes("th") if attributes["scope"] == "col"]
    assert [attributes["aria-sort"] for attributes in headers] == ["none"] * 4
    assert [attributes.get("class") for attributes in headers] == [None, "number", "number", "number"]
    assert reading.texts("thead", "button")[1:5] == ["model", "accuracy", "images", "seconds"]


def test_nothing_on_the_page_points_elsewhere(reading: Reading, page: Path) -> None:
    for tag, attributes, _ in reading.elements:
        assert not {"src", "srcset", "action"} & set(attributes), tag
        assert attributes.get("href", "data:,") == "data:,"
        assert not [name for name in attributes if name.startswith("on")]
    styles = "".join(reading.texts("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    assert page.stat().st_size < 1_500_000


def test_what_is_shown_never_becomes_markup(reading: Reading) -> None:
    assert reading.attributes("img") == []
    scripts = [(attributes, text) for tag, attributes, text in reading.elements if tag == "script"]
    assert [attributes.get("type") for attributes, _ in scripts] == ["application/json", "module", "module"]
    data = "".join(scripts[0][1])
    assert not set("<>&") & set(data)
    spec = json.loads(data)["specs"][1]
    (rows,) = spec["datasets"].values()
    assert {row["run"] for row in rows} == {"labels only", HOSTILE}
    assert "title" not in spec


def test_the_policy_allows_the_two_scripts_and_nothing_else(reading: Reading) -> None:
    policy = next(a["content"] for a in reading.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy")
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    hashes = [
        base64.b64encode(hashlib.sha256("".join(text).encode()).digest()).decode()
        for tag, attributes, text in reading.elements
        if tag == "script" and attributes["type"] == "module"
    ]
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"].split() == [f"'sha256-{digest}'" for digest in hashes]


def test_a_script_cannot_end_its_own_element() -> None:
    assert str(_inline('a="</script><!--"; b="</SCRIPT"; c=1</x/.y')) == (
        r'a="<\/script><\!--"; b="<\/SCRIPT"; c=1</x/.y'
    )


def test_a_page_without_charts_carries_no_vega(tmp_path: Path) -> None:
    path = tmp_path / "small.html"
    write_page(path, title="t", answer="a", tables=[], charts=[], provenance=[])
    reading = Reading(path.read_text("utf-8"))
    assert len(reading.attributes("script")) == 1
    assert reading.texts("h2") == []
    assert path.stat().st_size < 20_000


def test_the_same_page_twice_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        write_page(
            tmp_path / name, title="t", answer="a", tables=[], charts=[("c", accuracy())], provenance=[("a", "b\r\nc")]
        )
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.html"
    path.write_text("the old one")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LayerlinkError, match="no space left"):
        write_page(path, title="t", answer="a", tables=[], charts=[], provenance=[])
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert path.read_text() == "the old one"


def test_a_row_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"^row 2 has 1 entries; the table has 2 columns$"):
        Table(("a", "b"), (("x", 1), ("y",)))


def chromium() -> str:
    found = "/usr/bin/chromium" if os.path.exists("/usr/bin/chromium") else shutil.which("chromium")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("the page's test needs chromium, and CI is to have it")
        pytest.skip("no chromium on this machine: the page was not opened")
    return found


QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    sync_api = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else _playwright()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*QUIET, "--disable-component-update", "--disable-sync"]
        )
        yield browser
        browser.close()


def _playwright() -> Any:
    import playwright.sync_api

    return playwright.sync_api


class Visit:
    """A page in the browser, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1100, scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.as_uri())
        for number in range(2):  # a chart's button appears when the chart is drawn
            self.tab.locator(f"#chart-{number} figcaption button").wait_for()

    def column(self, number: int) -> list[str]:
        return [
            row.locator("th, td").nth(number).inner_text().strip() for row in self.tab.locator("main tbody tr").all()
        ]

    def lines(self, chart: int, expected: int) -> int:
        """Lines drawn, one path a series that is shown; waits a while for the expected number."""
        lines = self.tab.locator(f"#chart-{chart} svg .mark-line.role-mark path")
        for _ in range(100):
            if lines.count() == expected:
                break
            self.tab.wait_for_timeout(50)
        return int(lines.count())


@pytest.fixture
def visit(browser: Any, page: Path) -> Iterator[Visit]:
    visit = Visit(browser, page)
    yield visit
    visit.tab.close()


def test_opens_quietly_and_draws_every_line(visit: Visit, page: Path) -> None:
    assert (visit.lines(0, 3), visit.lines(1, 2)) == (3, 2)
    assert visit.said == []
    assert visit.asked == [page.as_uri()]
    assert visit.tab.evaluate("window.broken") is None


def test_headers_sort_up_down_and_back(visit: Visit) -> None:
    tab = visit.tab
    given = ["98.6 %", "9.7 %", "-", "97.0 %"]
    header = tab.locator("thead th").nth(1)
    header.locator("button").focus()
    for direction, order in (
        ("ascending", ["9.7 %", "97.0 %", "98.6 %", "-"]),
        ("descending", ["98.6 %", "97.0 %", "9.7 %", "-"]),
        ("none", given),
    ):
        tab.keyboard.press("Enter")
        assert (header.get_attribute("aria-sort"), visit.column(1)) == (direction, order)
    tab.locator("thead button").nth(2).click()
    assert visit.column(2) == ["4", "20", "300", "1,234,567"]
    tab.locator("thead button").nth(0).click()
    assert visit.column(0)[1:] == ["run 9", "run 10", "teacher"]
    assert [th.get_attribute("aria-sort") for th in tab.locator("thead th").all()] == ["ascending", *["none"] * 3]


def test_a_click_on_a_name_hides_its_line_and_a_second_one_shows_it(visit: Visit) -> None:
    name = visit.tab.locator("#chart-0 .role-legend-label text").nth(1)
    assert name.text_content() == "labels only"
    for lines, opacity in ((2, "0.35"), (3, "1")):
        name.click()
        assert visit.lines(0, lines) == lines
        name = visit.tab.locator("#chart-0 .role-legend-label text").nth(1)
        assert name.get_attribute("opacity") == opacity
    for number in range(3):
        visit.tab.locator("#chart-0 .role-legend-symbol path").nth(number).click(force=True)
        assert visit.lines(0, 2 - number) == 2 - number
    visit.tab.wait_for_timeout(200)
    assert visit.lines(0, 0) == 0, "with every line hidden none may come back by itself"
    names = visit.tab.locator("#chart-0 .role-legend-label text").all()
    assert [name.get_attribute("opacity") for name in names] == ["0.35"] * 3
    assert visit.said == []


def test_hovering_tells_run_epoch_and_value(visit: Visit) -> None:
    box = visit.tab.locator("#chart-0 svg .mark-symbol.role-mark path").last.bounding_box()
    visit.tab.mouse.move(box["x"] - 3, box["y"] + box["height"] / 2)
    visit.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    visit.tab.wait_for_selector("#vg-tooltip-element.visible")
    told = re.split(r"\s*[\t\n]\s*", visit.tab.locator("#vg-tooltip-element").inner_text().strip())
    assert told == ["run", HOSTILE, "epoch", "3", "value", "92 %"]
    assert visit.tab.locator("img").count() == 0
    assert visit.said == []


def test_a_chart_can_be_saved(visit: Visit) -> None:
    with visit.tab.expect_download() as download:
        visit.tab.locator("#chart-0 figcaption button").click()
    assert download.value.suggested_filename == "Validation-accuracy.svg"
    assert "labels only" in Path(download.value.path()).read_text("utf-8")


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 28)")])
@pytest.mark.parametrize("width", [375, 1100])
def test_reads_in_both_schemes_and_on_a_phone(
    browser: Any, page: Path, tmp_path: Path, scheme: str, ground: str, width: int
) -> None:
    visit = Visit(browser, page, width, scheme)
    picture = tmp_path / f"{scheme}-{width}.png"
    visit.tab.screenshot(path=picture, full_page=True)
    colour = "getComputedStyle(document.querySelector({!r})).{}"
    assert picture.stat().st_size > 10_000
    assert visit.tab.evaluate(colour.format("body", "backgroundColor")) == ground
    strokes = (
        "[...document.querySelectorAll('#chart-0 .mark-line.role-mark path')].map(p => getComputedStyle(p).stroke)"
    )
    expected = {"light": "rgb(0, 86, 174)", "dark": "rgb(79, 124, 255)"}[scheme]
    assert visit.tab.evaluate(strokes)[1] == expected
    assert visit.tab.evaluate("document.documentElement.scrollWidth") == width, "the page must not scroll sideways"
    legend = visit.tab.locator("#chart-0 .role-legend").bounding_box()
    svg = visit.tab.locator("#chart-0 svg").bounding_box()
    assert legend["y"] >= svg["y"] - 1, "the legend is cut off above"
    assert legend["x"] + legend["width"] <= svg["x"] + svg["width"] + 1, "the legend is cut off at the side"
    assert visit.said == []
    visit.tab.close()


def test_paper_is_light_and_no_chart_is_wider_than_it(browser: Any, page: Path) -> None:
    visit = Visit(browser, page, 1100, "dark")
    visit.tab.emulate_media(media="print", color_scheme="dark")
    ground = visit.tab.evaluate("getComputedStyle(document.querySelector('body')).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert not visit.tab.locator("figcaption button").first.is_visible()
    assert visit.tab.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    visit.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.tab.evaluate("document.querySelector('#chart-0 svg').viewBox.baseVal.width") == pytest.approx(
        680, abs=2
    )
    assert visit.said == []
    visit.tab.close()
