"""A whole report of real runs, its files, and its page in a real browser."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from layerlink.lab.report.building import Report, _score_pictures, write_report
from layerlink.lab.report.figures.bars import Point, Reference, axis_chart, row_chart
from layerlink.lab.report.figures.heat_maps import confusion_chart, similarity_chart
from layerlink.lab.report.files import escaped, file_name
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.report.measured.similarity import Similarity
from layerlink.lab.report.page.charts import to_svg
from layerlink.lab.report.page.curves import Curve, curve_panels
from layerlink.lab.run.folder import RunFolder
from layerlink.measure import timing

HOSTILE = "</script><img src=x onerror=window.broken=1>| `x` \"'&"


@pytest.fixture(scope="module")
def sweep(study: Path, teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four runs and a failed one as a sweep whose third row has a hostile name."""
    folder = tmp_path_factory.mktemp("sweeps") / "table"
    shutil.copytree(study, folder)
    shutil.copytree(teacher_run, folder / "teacher")
    for place, weight in enumerate((1, 10, 30)):
        for seed in (0, 1):
            run = shutil.copytree(study / f"links-{seed}", folder / f"t{weight}-{seed}")
            result = json.loads((run / "result.json").read_text())
            (run / "result.json").write_text(json.dumps(result | {"test_accuracy": 40.0 + place + 0.3 * seed}))
    failed = folder / "hostile-0"
    failed.mkdir()
    (failed / "failed.txt").write_text(f"the loss became nan {HOSTILE}\n")
    (folder / "links-0" / "warnings.txt").write_text(f"epoch 1: {HOSTILE}\n")
    rows = [
        {"name": "labels only", "changes": {"links": []}, "baseline": True, "runs": runs("labels only")},
        {"name": "links", "changes": {}, "published": 87.9, "runs": runs("links")},
        *(
            {"name": f"T={t}", "changes": {"soft.temperature": t}, "published": 76.5, "runs": runs(f"t{t}")}
            for t in (1, 10, 30)
        ),
        {"name": HOSTILE, "changes": {}, "runs": {"0": "hostile-0", "1": "hostile-1"}},
    ]
    manifest = {"name": "table", "title": f"A table {HOSTILE}", "question": "Which?", "source": HOSTILE, "rows": rows}
    manifest |= {
        "command": "layerlink sweep table",
        "axes": {"soft.temperature": [1, 10, 30]},
        "teacher": "teacher",
    }
    (folder / "sweep.json").write_text(json.dumps(manifest))
    return folder


def runs(name: str) -> dict[str, str]:
    return {str(seed): f"{name}-{seed}" for seed in (0, 1)}


@pytest.fixture(scope="module")
def report(sweep: Path) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "_SECONDS", 0)
        return write_report([sweep])


@pytest.fixture(scope="module")
def out(report: Report) -> Path:
    return report.page.parent


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written(report: Report, out: Path, sweep: Path) -> None:
    assert report.left_out == ""
    assert out == sweep / "report"
    assert {path.stem for path in (out / "tables").iterdir()} == {
        *("results", "recipes", "runs", "warnings", "missing", "models", "confusions", "similarity")
    }
    names = {path.name for path in (out / "figures").iterdir()}
    assert {
        *("test-accuracy-against-soft-temperature.svg", "test-accuracy-row-by-row.svg"),
        *("accuracy-and-raw-terms-epoch-by-epoch.svg", "validation-accuracy-against-training-time.svg"),
        *("confusion-of-t-30.svg", "similarity-of-layers-to-the-teacher-s-before-and-after-train.svg"),
    } == names
    for path in (out / "figures").iterdir():
        root = ET.fromstring(path.read_text("utf-8"))
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 3, path.name
    links = re.findall(r"\]\((figures/[^)]+)\)", (out / "report.md").read_text("utf-8"))
    assert {link.removeprefix("figures/") for link in links} == names


def test_markdown_and_csv_hold_the_numbers_of_the_runs(out: Path, sweep: Path) -> None:
    markdown = (out / "report.md").read_text("utf-8")
    results = {row["row"]: row for row in table(out / "tables" / "results.csv")}
    for row in gather([sweep]).rows:
        found = results[row.name]
        values = list(row.values().values())
        assert int(found["n"]) == len(values)
        (line,) = [
            line
            for line in markdown.splitlines()
            if line.startswith((f"| {escaped(row.name)} |", f"| **{escaped(row.name)}** (best) |")) and "±" in line
        ] or [""]
        if not values:
            assert (found["test_accuracy_mean"], line) == ("", "")
            continue
        mean = sum(values) / 2
        sd = abs(values[0] - values[1]) / 2**0.5
        assert float(found["test_accuracy_mean"]) == pytest.approx(mean, abs=1e-12)
        assert float(found["test_accuracy_sd"]) == pytest.approx(sd, abs=1e-12)
        assert f"| {mean:.2f} ± {sd:.2f} | 2 |" in line
    assert float(results["links"]["published"]) == 87.9
    baseline, links = (results[name] for name in ("labels only", "links"))
    expected = float(links["test_accuracy_mean"]) - float(baseline["test_accuracy_mean"])
    assert float(links["difference_mean"]) == pytest.approx(expected)
    assert (links["difference_n"], links["difference_paired"]) == ("2", "True")
    assert results["T=10"]["changes"] == '{"soft.temperature": 10}'
    models = table(out / "tables" / "models.csv")
    leader = max((row for row in results.values() if row["n"] != "0"), key=lambda row: float(row["test_accuracy_mean"]))
    assert {row["name"] for row in models} == {"teacher", "labels only", leader["row"]}
    assert all(float(row["batch_1_median_ms"]) > 0 for row in models)
    missing = table(out / "tables" / "missing.csv")
    assert [(row["state"], row["reason"]) for row in missing] == [
        ("failed", f"the loss became nan {HOSTILE}"),
        ("unfinished", "not begun"),
    ]


def test_hostile_names_stay_text_in_markdown(out: Path) -> None:
    lines = (out / "report.md").read_text("utf-8").splitlines()
    assert not [line for line in lines if "<" in line and not line.startswith("- ")]
    header = next(number for number, line in enumerate(lines) if line.startswith("| row | test"))
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[header : header + 8]]
    assert len(set(cells)) == 1, "a name has made a column"


def test_the_same_runs_make_the_same_tables(sweep: Path, out: Path, tmp_path: Path) -> None:
    write_report([sweep], tmp_path / "again", measure=0)
    for name in ("results.csv", "runs.csv", "recipes.csv"):
        assert (tmp_path / "again" / "tables" / name).read_bytes() == (out / "tables" / name).read_bytes()
    assert "Teacher against student" not in (tmp_path / "again" / "index.html").read_text("utf-8")
    assert " --no-measure --out " in (tmp_path / "again" / "report.md").read_text("utf-8")
    assert "--no-measure" not in (out / "report.md").read_text("utf-8")


def headings(folder: Path) -> list[str]:
    """Of the pictures of a report without measurements."""
    written = write_report([folder], measure=0)
    return re.findall(r"!\[(.*?)\]\(figures", (written.page.parent / "report.md").read_text("utf-8"))


def one_epoch(run: Path, **metrics: float) -> None:
    RunFolder(run).write_metrics([{"epoch": 1, "seconds": 1.5, **metrics}])


def test_a_single_epoch_is_told_in_numbers_not_drawn(tmp_path: Path, fake_run: Callable[..., Path]) -> None:
    link = "layer1 -> layer2 : mse * 40"
    for seed in (0, 1):
        one_epoch(fake_run(tmp_path / f"labels-{seed}", seed, 60.0), hard=2.0 + seed, validation_accuracy=50.0 + seed)
        run = fake_run(tmp_path / f"links-{seed}", seed, 61.0, "teacher={model: vgg16, weights: t}")
        one_epoch(run, **{"hard": 1.5, link: 0.25 + 0.5 * seed})
    assert headings(tmp_path) == ["Test accuracy, row by row"]
    markdown = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "Epoch by epoch" not in markdown
    # sd of two numbers: their difference by sqrt(2).
    assert "| labels | 50.50 ± 0.71 | 2.5 ± 0.71 | - |" in markdown
    assert "| links | - | 1.5 ± 0 | layer1 -> layer2 : mse 0.5 ± 0.35 |" in markdown.replace("\N{NO-BREAK SPACE}", " ")
    found = table(tmp_path / "report" / "tables" / "one-epoch.csv")
    assert [(it["row"], it["quantity"], float(it["mean"]), it["n"]) for it in found][-1] == (
        ("links", "layer1 -> layer2 : mse", 0.5, "2")
    )


def test_rows_of_one_epoch_beside_longer_ones_have_no_curve(tmp_path: Path, fake_run: Callable[..., Path]) -> None:
    fake_run(tmp_path / "labels-0", 0, 60.0)
    one_epoch(fake_run(tmp_path / "short-0", 0, 50.0, "training.epochs=1"), hard=1.25, validation_accuracy=51.0)
    assert "Accuracy and raw terms, epoch by epoch" in headings(tmp_path)
    figure = (tmp_path / "report" / "figures" / "accuracy-and-raw-terms-epoch-by-epoch.svg").read_text("utf-8")
    assert ">labels<" in figure
    assert ">short<" not in figure
    markdown = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "## After one epoch" in markdown
    assert "| short | 51.00 | 1.25 |" in markdown


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        # An axis that has every row but the baseline tells all of it.
        ({"a": {"soft.temperature": 1}, "b": {"soft.temperature": 2}, "c": {"soft.temperature": 4}}, "axis"),
        # Two places, or three that differ in something else as well, are no line.
        ({"a": {"soft.temperature": 1}, "b": {"soft.temperature": 2}}, "rows"),
        ({name: {"soft.temperature": 2**k, "soft.weight": k} for k, name in enumerate("abc", start=1)}, "rows"),
        ({"a": {"soft.temperature": 1}, "b": {"soft.temperature": 2}, "c": {"soft.temperature": 4}, "d": {}}, "both"),
    ],
)
def test_no_picture_shows_what_another_one_does(
    tmp_path: Path, fake_run: Callable[..., Path], rows: dict[str, dict[str, int]], drawn: str
) -> None:
    for name in ("base", *rows):
        one_epoch(fake_run(tmp_path / f"{name}-0", 0, 60.0), hard=1.0)
    every = [{"name": "base", "changes": {}, "baseline": True, "runs": {"0": "base-0"}}]
    every += [{"name": name, "changes": changes, "runs": {"0": f"{name}-0"}} for name, changes in rows.items()]
    (tmp_path / "sweep.json").write_text(json.dumps({"name": "x", "rows": every}))
    axis, row = "Test accuracy against soft.temperature", "Test accuracy, row by row"
    found = [picture.heading for picture in _score_pictures(gather([tmp_path]))]
    assert found == {"axis": [axis], "rows": [row], "both": [axis, row]}[drawn]


def test_figures_with_names_alike_do_not_overwrite_each_other() -> None:
    taken: list[str] = []
    for heading in ("Term: a", "Term, a", "../../term a", "語"):
        taken.append(file_name(heading, taken))
    assert taken == ["term-a.svg", "term-a-2.svg", "term-a-3.svg", "figure.svg"]


@pytest.mark.parametrize(
    ("values", "best"), [({"a": (60.0, 60.2), "b": (80.0, 80.3)}, "b"), ({"a": (60.0, 63.0), "b": (61.0, 66.0)}, None)]
)
def test_the_best_row_is_marked_only_beyond_chance(
    tmp_path: Path, fake_run: Callable[..., Path], values: dict[str, tuple[float, float]], best: str | None
) -> None:
    for name, accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            fake_run(tmp_path / f"{name}-{seed}", seed, accuracy, f"training.lr={accuracies[0]}")
    written = write_report([tmp_path], measure=0)
    page = written.page.read_text("utf-8")
    markdown = (written.page.parent / "report.md").read_text("utf-8")
    assert page.count('<span class="mark">best</span>') == (best is not None)
    assert ("| **b** (best) |" in markdown) == (best is not None)
    assert ("No row is marked as best" in page) == (best is None)


def chromium() -> str:
    found = "/usr/bin/chromium" if os.path.exists("/usr/bin/chromium") else shutil.which("chromium")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("the report's test needs chromium, and CI is to have it")
        pytest.skip("no chromium on this machine: the report was not opened")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def visit(browser: Any, page: Path, scheme: str, width: int = 1100) -> tuple[Any, list[str], list[str]]:
    said: list[str] = []
    asked: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    for number in range(tab.locator("figure").count()):
        tab.locator(f"#chart-{number} figcaption button").wait_for(state="attached")
        tab.wait_for_function(f"!document.querySelector('#chart-{number} figcaption button').hidden")
    return tab, said, asked


# Of every text of a figure: what it says, its box, and whether it runs along an axis.
TEXTS = """() => [...document.querySelectorAll('svg text')]
    .filter(it => it.textContent.trim() && it.getAttribute('opacity') !== '0')
    .map(it => {
        const box = it.getBoundingClientRect(), turned = it.getScreenCTM();
        return [it.textContent, box.left, box.top, box.right, box.bottom, Math.abs(turned.a * turned.b) < 1e-6];
    })"""
EDGES = "() => { const it = document.querySelector('svg').getBoundingClientRect(); return [it.right, it.bottom]; }"


def misplaced(tab: Any, svg: str, family: str) -> list[str]:
    """The texts of a figure that are cut off or shortened, or lie over each other, where its reader has this font."""
    written = re.sub(r'font-family="[^"]*"', f'font-family="{family}"', svg)
    tab.set_content(f"<body style='margin: 0'>{written}</body>")
    right, bottom = tab.evaluate(EDGES)
    texts = tab.evaluate(TEXTS)
    found = [f"{it[0]} is cut off" for it in texts if it[1] < -0.5 or it[2] < -0.5 or it[3] > right or it[4] > bottom]
    found += [f"{it[0]} is shortened" for it in texts if it[0].endswith("…")]
    for number, one in enumerate(texts):
        for other in texts[number + 1 :]:
            wide = min(one[3], other[3]) - max(one[1], other[1])
            high = min(one[4], other[4]) - max(one[2], other[2])
            if wide > 1 and high > 3 and one[5] and other[5]:
                found.append(f"{one[0]} lies over {other[0]}")
    return found


@pytest.mark.parametrize("family", ["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"])
def test_no_text_of_a_figure_is_cut_off_in_any_font(browser: Any, out: Path, family: str) -> None:
    tab = browser.new_page(viewport={"width": 1400, "height": 1600})
    docs = Path(__file__).parents[3] / "docs"
    figures = [*(out / "figures").glob("*.svg"), *docs.rglob("*.svg")]
    assert len(figures) > 10
    wrong = {path.name: found for path in figures if (found := misplaced(tab, path.read_text("utf-8"), family))}
    tab.close()
    assert wrong == {}


LONG = (
    "encoder.layer.5.attention.self.query + encoder.layer.5.attention.self.key -> encoder.layer.2.attention : relations"
)
NAME = "a row that somebody gave a name of a whole sentence, to say what it is: T=4, weight=0.9, links=layer1+layer2"


@pytest.mark.parametrize("family", ["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"])
def test_long_names_are_written_out_in_every_figure(browser: Any, family: str) -> None:
    names = ["labels only", NAME, "W" * 60, HOSTILE]
    curves = [Curve(name, LONG, (3.0, 2.0)) for name in names]
    points = [Point(name, {0: 70.0 + place}) for place, name in enumerate(names)]
    series = [Point(f"{name}{x}", {0: 70.0 + x}, None, x, name) for name in names for x in (1.0, 2.0, 3.0)]
    lines, cells = [Reference(NAME, 71.0)], [Similarity(LONG, f"{name}, after", 0.5, True) for name in names[:2]]
    shares = [[8, 1, 1], [1, 8, 1], [1, 1, 8]]
    figures = {
        "panels": curve_panels([("hard", curves), (LONG, curves)], title="Terms", runs=names),
        "rows": row_chart(points, references=lines),
        "axis": axis_chart(series, axis="T", references=lines),
        "similarity": similarity_chart(cells, title="CKA"),
        "confusion": confusion_chart(shares, [NAME, "b", "c"], down="true class", across="answer", title="Confusion"),
    }
    tab = browser.new_page(viewport={"width": 1400, "height": 1600})
    wrong = {name: found for name, chart in figures.items() if (found := misplaced(tab, to_svg(chart), family))}
    tab.set_content(to_svg(figures["panels"]))
    titles = tab.evaluate("[...document.querySelectorAll('.role-title-text text')].map(it => it.textContent)")
    tab.close()
    assert wrong == {}
    assert f"{LONG} (log scale)".replace(" ", "") in [title.replace(" ", "") for title in titles]


def test_without_fixed_widths_names_would_be_cut_off(browser: Any, out: Path) -> None:
    tab = browser.new_page(viewport={"width": 1400, "height": 1600})
    svg = (out / "figures" / "test-accuracy-row-by-row.svg").read_text("utf-8")
    plain = re.sub(' textLength="[^"]*" lengthAdjust="spacingAndGlyphs"', "", svg)
    assert misplaced(tab, plain, "DejaVu Sans Mono") != []
    tab.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("light", 390)])
def test_the_page_opens_quietly_with_marks_in_every_chart(
    browser: Any, report: Report, tmp_path: Path, scheme: str, width: int
) -> None:
    tab, said, asked = visit(browser, report.page, scheme, width)
    assert said == []
    assert asked == [report.page.as_uri()]
    assert tab.evaluate("window.broken") is None
    assert tab.locator("img").count() == 0
    marks = tab.evaluate(
        "[...document.querySelectorAll('figure')].map(f => f.querySelectorAll('svg .role-mark > path').length)"
    )
    assert len(marks) == len(list((report.page.parent / "figures").iterdir()))
    assert min(marks) > 1
    assert tab.evaluate("document.documentElement.scrollWidth") == width, "the page must not scroll sideways"
    names = tab.locator("section").first.locator("tbody th").all_inner_texts()
    assert [name.removesuffix(" best") for name in names] == ["labels only", "links", "T=1", "T=10", "T=30", HOSTILE]
    picture = tmp_path / "page.png"
    tab.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 50_000
    tab.close()


def test_tables_sort_series_switch_and_hovering_tells(browser: Any, report: Report) -> None:
    tab, said, _ = visit(browser, report.page, "light")
    table = tab.locator("section").first.locator("table")
    table.locator("thead button").nth(1).click()
    shown = [text.split(" ± ")[0] for text in table.locator("tbody td:nth-child(2)").all_inner_texts()]
    numbers = [float(text) for text in shown if text != "-"]
    assert numbers == sorted(numbers)
    assert shown[-1] == "-", "what is missing stays at the bottom"

    figure = tab.locator("figure").first
    assert figure.locator("h3").inner_text() == "Test accuracy against soft.temperature"
    labels = figure.locator(".role-legend-label text")
    names = [re.sub(r" [0-9.]+ %$", "", text) for text in labels.all_text_contents()]
    assert names == ["ours", "published", "teacher", "labels only"]
    lines = figure.locator("svg .mark-line.role-mark path")
    assert lines.count() == 2
    labels.nth(1).click()
    tab.wait_for_function("document.querySelectorAll('#chart-0 svg .mark-line.role-mark path').length === 1")

    for heading in ("Test accuracy, row by row", "Accuracy and raw terms, epoch by epoch"):
        other = tab.locator("figure").filter(has=tab.get_by_role("heading", name=heading, exact=True))
        chart, marks = other.get_attribute("id"), other.locator("svg .role-mark > path").count()
        other.locator(".role-legend-label text").first.click()
        tab.wait_for_function(f"document.querySelectorAll('#{chart} svg .role-mark > path').length < {marks}")

    dot = figure.locator("svg .mark-symbol.role-mark").last.locator("path").nth(1)
    dot.hover(force=True)
    tab.wait_for_selector("#vg-tooltip-element.visible")
    told = re.split(r"\s*[\t\n]\s*", tab.locator("#vg-tooltip-element").inner_text().strip())
    assert told == ["row", "T=10", "accuracy", "41.15 %, sd 0.21", "n", "2"]
    assert said == []
    tab.close()


def test_paper_is_light_with_every_figure_whole(browser: Any, report: Report) -> None:
    tab, said, _ = visit(browser, report.page, "dark")
    tab.emulate_media(media="print", color_scheme="dark")
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert len(tab.pdf()) > 20_000
    assert said == []
    tab.close()
