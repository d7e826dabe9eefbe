from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from layerlink.lab.report.answer import verdict_of
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.report.page.page import shown_text
from layerlink.lab.report.tables.results import results_table
from layerlink.lab.report.tables.table import ReportTable

FakeRun = Callable[..., Path]
TEACHER = "teacher={model: vgg16, weights: t}"


def results(folder: Path) -> ReportTable:
    gathered = gather([folder])
    return results_table(gathered, verdict_of(gathered))


def entry(table: ReportTable, row: str, column: str) -> str:
    place = table.shown.columns.index(column)
    return next(shown_text(line[place]) for line in table.shown.rows if line[0] == row)


@pytest.fixture
def runs(tmp_path: Path, fake_run: FakeRun) -> Path:
    for seed, (base, lead) in enumerate(zip((60.0, 63.0, 58.0), (4.0, 4.25, 3.75), strict=True)):
        fake_run(tmp_path / f"labels-{seed}", seed, base, test_nll=1.2 + 0.1 * seed, test_ece=8.0 + seed)
        fake_run(
            tmp_path / f"soft-{seed}",
            seed,
            base + lead,
            TEACHER,
            "soft.temperature=3",
            test_nll=0.9 + 0.1 * seed,
            test_ece=4.0,
            agreement=80.0 + seed,
        )
    return tmp_path


def test_a_row_says_difference_interval_and_p(runs: Path) -> None:
    table = results(runs)
    assert entry(table, "soft", "minus “labels”, points") == "+4.00 ± 0.25"
    # t = 4 / (0.25 / sqrt(3)) = 27.7 on two degrees of freedom; 4.303 * 0.1443 each way.
    assert entry(table, "soft", "95 % interval") == "+3.38 to +4.62"
    assert entry(table, "soft", "p") == "0.0013"
    assert (entry(table, "labels", "95 % interval"), entry(table, "labels", "p")) == ("-", "-")
    row = next(row for row in table.data if row["row"] == "soft")
    assert row["difference_test"] == "paired t"
    assert row["difference_p_corrected"] == row["difference_p"] == pytest.approx(0.0013, abs=5e-5)
    assert (row["more_seeds"], row["difference_p_exact"]) == (0, None)
    assert "Rows are compared seed by seed" in table.shown.note


def test_likelihood_calibration_and_agreement_have_their_spread(runs: Path) -> None:
    table = results(runs)
    assert entry(table, "labels", "NLL, nats") == "1.300 ± 0.100"
    assert entry(table, "soft", "ECE, %") == "4.00 ± 0.00"
    assert entry(table, "soft", "as teacher, %") == "81.00 ± 1.00"
    assert table.data[0]["test_nll_sd"] == pytest.approx(0.1)


def test_runs_of_before_that_knew_no_likelihood_are_read(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "labels-0", 0, 60.0)
    table = results(tmp_path)
    assert not {"NLL, nats", "ECE, %", "95 % interval", "p"} & set(table.shown.columns)
    assert "negative log-likelihood" not in table.shown.note


def change(run: Path, **environment: str) -> None:
    file = run / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **environment}))


def test_runs_of_another_processor_are_no_pairs_and_told(runs: Path) -> None:
    assert "processor" not in results(runs).shown.note
    change(runs / "soft-1", hardware="another")
    table = results(runs)
    assert "1 run was trained on another kind of processor, or in another precision, than “labels”" in table.shown.note
    # 4 and 3.75 of seeds 0 and 2 are left: sd 0.25 / sqrt(2).
    assert entry(table, "soft", "minus “labels”, points") == "+3.88 ± 0.18 (n = 2)"
    for seed in (0, 2):
        change(runs / f"soft-{seed}", precision="bfloat16")
    table = results(runs)
    assert "3 runs were trained on another" in table.shown.note
    assert entry(table, "soft", "minus “labels”, points").endswith("(unpaired)")
    assert "unknown with so few seeds in common" in table.shown.note


def test_a_processor_that_earlier_runs_named_alone_is_the_same_by_its_name(runs: Path) -> None:
    for place, run in enumerate(sorted(runs.glob("*-*"))):
        detail = " (family 23, model 49) with AVX2" if place % 2 else ""
        change(run, hardware=f"AMD EPYC{detail}, 2 cores, 1 threads", device="cpu")
    assert "processor" not in results(runs).shown.note
    for run in runs.glob("*-*"):
        model = "2" if run.name == "soft-1" else "49"
        change(run, hardware=f"AMD EPYC (family 23, model {model}) with AVX2, 2 cores, 1 threads")
    assert "1 run was trained on another kind of processor" in results(runs).shown.note


def test_rows_that_differ_in_precision_are_pairs(tmp_path: Path, fake_run: FakeRun) -> None:
    for name, precision, values in (("full", "float32", (60.0, 62.0)), ("half", "bfloat16", (61.0, 63.5))):
        for seed, value in enumerate(values):
            run = fake_run(tmp_path / f"{name}-{seed}", seed, value, f"precision={precision}")
            (run / "environment.json").write_text(json.dumps({"hardware": "A CPU", "precision": precision}))
    table = results(tmp_path)
    assert "processor" not in table.shown.note


def test_runs_of_another_commit_are_told(runs: Path) -> None:
    change(runs / "soft-1", commit="other")
    note = results(runs).shown.note
    assert "1 run is of another commit or of other versions than “labels” with the same seed." in note


def test_choosing_a_row_is_warned_of_whatever_seeds_are_missing(tmp_path: Path, fake_run: FakeRun) -> None:
    lead = {"labels": (0.0, 0.0), "one": (1.0, 1.6), "two": (2.0, 1.4)}
    for place, (row, values) in enumerate(lead.items()):
        for seed, value in enumerate(values):
            fake_run(tmp_path / f"{row}-{seed}", seed, 60 + 3 * seed + value, TEACHER, f"soft.weight={place + 1}")
    fake_run(tmp_path / "late-0", 0, 60.5, TEACHER, "soft.weight=9")
    # What rows and seeds leave over, by an analysis of variance with two degrees of freedom.
    values = np.array([[60.0, 63.0], [61.0, 64.6], [62.0, 64.4]])
    left = values - values.mean(0) - values.mean(1)[:, None] + values.mean()
    sd = math.sqrt((left**2).sum() / 2)
    # The largest of four standard normal numbers is 1.03 on average.
    said = "“two” is first of 4 rows by the test images that are told here: were all of them equally good, the first "
    assert f"{said}would read {1.03 * sd / math.sqrt(2):.2f} points too high" in results(tmp_path).shown.note


def test_a_single_seed_each_is_warned_of_too(tmp_path: Path, fake_run: FakeRun) -> None:
    for row, value, more in (("labels", 60.0, ()), ("soft", 61.0, (TEACHER,))):
        fake_run(tmp_path / f"{row}-0", 0, value, *more)
    assert "“soft” is first of 2 rows by the test images that are told here, and so reads too high" in (
        results(tmp_path).shown.note
    )


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (("best", "best"), "once, with the epoch that did best on validation images."),
        (("last", "last"), "once, with the weights of its last epoch."),
        (("best", "last"), "on validation images; 1 of 2 runs with their last one."),
    ],
)
def test_the_note_says_which_epoch_read_the_test_images(
    keep: tuple[str, str], said: str, tmp_path: Path, fake_run: FakeRun
) -> None:
    for seed, which in enumerate(keep):
        fake_run(tmp_path / f"labels-{seed}", seed, 60.0, f"training.keep={which}")
    assert said in results(tmp_path).shown.note


@pytest.mark.parametrize(("second", "shown"), [(73.0, ("70.4", "73.0")), (72.98, ("70.40", "72.98"))])
def test_published_numbers_have_the_digits_of_their_source(
    second: float, shown: tuple[str, str], tmp_path: Path, fake_run: FakeRun
) -> None:
    for row in ("labels", "soft"):
        fake_run(tmp_path / f"{row}-0", 0, 60.0)
    rows = [
        {"name": name, "changes": {}, "baseline": False, "published": number, "runs": {"0": f"{name}-0"}}
        for name, number in (("labels", 70.4), ("soft", second))
    ]
    manifest = {"name": "mine", "title": "", "question": "", "source": "Somebody 2020", "rows": rows}
    (tmp_path / "sweep.json").write_text(json.dumps(manifest))
    table = results(tmp_path)
    assert (entry(table, "labels", "published, %"), entry(table, "soft", "published, %")) == shown
