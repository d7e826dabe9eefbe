from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.report.answer import answer
from layerlink.lab.report.gather.rows import gather

FakeRun = Callable[..., Path]
TEACHER = "teacher={model: vgg16, weights: runs/big-0}"
HOSTILE = "</script><b>| `x` \"'&"


def sweep(folder: Path, rows: list[dict[str, Any]], **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"name": "s", "title": "T", "question": "Q?", "source": "", "axes": {}, "rows": rows, **more}
    (folder / "sweep.json").write_text(json.dumps(manifest))
    return folder


def row(name: str, runs: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"name": name, "changes": {}, "baseline": False, "published": None, "runs": runs, **more}


def test_runs_that_differ_in_their_seed_alone_are_a_row(tmp_path: Path, fake_run: FakeRun) -> None:
    for seed in (1, 0):
        fake_run(tmp_path / "runs" / f"hard-{seed}", seed, 60.0 + seed)
        fake_run(tmp_path / "runs" / "deep" / f"soft-{seed}", seed, 70.0 + seed, TEACHER, "soft.temperature=3")
    gathered = gather([tmp_path / "runs"])
    assert [(row.name, row.baseline, row.values()) for row in gathered.rows] == [
        ("soft", False, {0: 70.0, 1: 71.0}),
        ("hard", True, {0: 60.0, 1: 61.0}),
    ]
    assert gathered.rows[0].changes["soft.temperature"] == 3.0
    assert "soft.temperature" not in gathered.rows[1].changes
    assert gathered.axes == ()
    assert gathered.commands == ("layerlink run x seed=0", "layerlink run x seed=1")


def test_rows_of_one_name_are_told_apart_by_their_recipes(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "a" / "x-0", 0, 60.0, "training.lr=0.1")
    fake_run(tmp_path / "b" / "x-0", 0, 61.0, "training.lr=0.2")
    fake_run(tmp_path / "c" / "y-0", 0, 61.0, "training.lr=0.3")
    gathered = gather([tmp_path])
    assert [row.name for row in gathered.rows] == ["training.lr=0.1", "training.lr=0.2", "y"]
    assert gathered.axes == ("training.lr",)


def test_a_copy_of_a_run_is_not_a_second_seed(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "x-0", 0, 60.0)
    fake_run(tmp_path / "x-0-again", 0, 60.0)
    gathered = gather([tmp_path, tmp_path / "x-0"])
    assert [len(row.runs) for row in gathered.rows] == [1]
    assert gathered.notes == (f"{tmp_path}/x-0-again repeats {tmp_path}/x-0, the same recipe and seed; it is left out",)


@pytest.mark.parametrize("moved", [False, True])
def test_the_teacher_is_no_row(tmp_path: Path, fake_run: FakeRun, moved: bool) -> None:
    weights = "elsewhere/big-0" if moved else tmp_path / "big-0"
    fake_run(tmp_path / "big-0", 0, 80.0, "student.model=vgg16")
    fake_run(tmp_path / "small-0", 0, 60.0, f"teacher={{model: vgg16, weights: {weights}}}", "soft.temperature=3")
    gathered = gather([tmp_path])
    assert [row.name for row in gathered.rows] == ["small"]
    assert gathered.teacher is not None
    assert gathered.teacher.number("test_accuracy") == 80.0


def test_a_sweep_says_what_its_rows_are(tmp_path: Path, fake_run: FakeRun) -> None:
    folder = tmp_path / "table"
    for seed in (0, 1):
        fake_run(folder / f"t-{seed}", seed, 70.0 + seed)
    fake_run(folder / "l-0", 0, None)
    (folder / "l-0" / "failed.txt").write_text("the loss became nan\n  in epoch 3\n")
    rows = [
        row(HOSTILE, {"0": "l-0", "1": "l-1"}, baseline=True),
        row("T=2", {"0": "t-0", "1": "t-1"}, changes={"soft.temperature": 2}, published=77.4),
    ]
    sweep(folder, rows, source="Somebody 2017", axes={"soft.temperature": [2]}, command="layerlink sweep x")
    gathered = gather([tmp_path])
    assert (gathered.title, gathered.question, gathered.commands) == ("T", "Q?", ("layerlink sweep x",))
    labels, taught = gathered.rows
    assert (labels.name, labels.baseline, labels.source) == (HOSTILE, True, "")
    assert [(run.state, run.reason) for run in labels.runs] == [
        ("failed", "the loss became nan in epoch 3"),
        ("unfinished", "not begun"),
    ]
    assert (taught.published, taught.source, taught.values()) == (77.4, "Somebody 2017", {0: 70.0, 1: 71.0})
    assert answer(gathered) == (
        "“T=2” reads 70.5 % (sd 0.7, n = 2) of the test images right. Of 4 runs, 1 failed and 1 is not finished."
    )


def test_a_name_in_two_sweeps_gets_its_sweeps_title(tmp_path: Path, fake_run: FakeRun) -> None:
    for name in ("one", "two"):
        fake_run(tmp_path / name / "r-0", 0, 70.0)
        sweep(tmp_path / name, [row("same", {"0": "r-0"})], title=name)
    assert [row.name for row in gather([tmp_path]).rows] == ["same (one)", "same (two)"]


RUNS = {"0": "r-0"}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "it must be fields; got []"),
        ("{}", "rows must be a list of at least one row; got None"),
        ({"rows": [1]}, "rows[0] must be fields; got 1"),
        ({"rows": [row("", RUNS)]}, "rows[0].name must be text; got ''"),
        ({"rows": [row("a", RUNS), row("a", RUNS)]}, "rows must be names that differ; got 'a'"),
        ({"rows": [row("a", RUNS, published="77")]}, "rows[0].published must be a number of percent or null; got '77'"),
        ({"rows": [row("a", RUNS, published=float("nan"))]}, "rows[0].published must be a number"),
        ({"rows": [row("a", RUNS, baseline="no")]}, "rows[0].baseline must be true or false; got 'no'"),
        ({"rows": [row("a", {"0": "../secret"})]}, "rows[0].runs['0'] must be a folder inside the sweep's"),
        ({"rows": [row("a", {"0": "/etc"})]}, "rows[0].runs['0'] must be a folder inside the sweep's"),
        ({"rows": [row("a", {"zero": "r"})]}, "rows[0].runs must be seeds as names; got 'zero'"),
        ({"rows": [row("a", RUNS, changes=[])]}, "rows[0].changes must be fields; got []"),
        ({"rows": [row("a", RUNS)], "axes": 3}, "axes must be fields; got 3"),
        ({"rows": [row("a", RUNS)], "title": 3}, "title must be text; got 3"),
        ({"rows": [row("a", RUNS)], "teacher": ["x"]}, "teacher must be a folder inside the sweep's or null"),
    ],
)
def test_a_damaged_manifest_is_named_with_its_entry(tmp_path: Path, manifest: Any, message: str) -> None:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(LayerlinkError) as caught:
        gather([tmp_path])
    assert str(caught.value).startswith(f"{tmp_path}/sweep.json")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("result.json", "{", "is missing or damaged"),
        ("result.json", '{"test_accuracy": 50}', "validation_accuracy, test_images missing"),
        (
            "result.json",
            '{"test_accuracy": NaN, "test_images": 1, "validation_accuracy": 1}',
            "test_accuracy must be 0 to 100 percent; got nan",
        ),
        (
            "result.json",
            '{"test_accuracy": "50", "test_images": 1, "validation_accuracy": 1}',
            "test_accuracy must be 0 to 100 percent; got '50'",
        ),
        ("recipe.yaml", "student: [", "recipe.yaml"),
        ("recipe.yaml", "studnt: vgg7", "unknown field"),
    ],
)
def test_a_damaged_run_does_not_count_and_says_why(
    tmp_path: Path, fake_run: FakeRun, file: str, text: str, reason: str
) -> None:
    fake_run(tmp_path / "x-0", 0, 60.0)
    (fake_run(tmp_path / "y-0", 0, 61.0, "training.lr=1") / file).write_text(text)
    gathered = gather([tmp_path])
    damaged = next(run for run in gathered.runs if run.folder.name == "y-0")
    assert damaged.state == "damaged"
    assert reason in damaged.reason
    assert "\n" not in damaged.reason
    assert "Of 2 runs, 1 cannot be read." in answer(gathered)


def test_damaged_curves_leave_the_result(tmp_path: Path, fake_run: FakeRun) -> None:
    folder = fake_run(tmp_path / "x-0", 0, 60.0)
    (folder / "metrics.csv").write_bytes(b"epoch,hard\n1,2,3,4\n")
    (run,) = gather([tmp_path]).runs
    assert (run.state, run.metrics) == ("finished", ())
    assert "a row has more entries than columns" in run.warnings[0]
    (folder / "metrics.csv").write_bytes(b"epoch,hard\n1,\xff\xfe\n")
    assert "is damaged" in gather([tmp_path]).runs[0].warnings[0]
    (folder / "metrics.csv").write_text("epoch,hard\n1,oops\n2,0.5\n")
    assert gather([tmp_path]).runs[0].metrics == ({"epoch": 1.0}, {"epoch": 2.0, "hard": 0.5})


def test_a_run_of_another_seed_than_its_sweep_says_does_not_count(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "r-0", 0, 60.0)
    sweep(tmp_path, [row("a", {"7": "r-0"})])
    (run,) = gather([tmp_path]).runs
    assert (run.state, run.reason) == ("damaged", "it is a run of seed 0, not 7")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^there is no folder .*nowhere\. Give folders of runs"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match=r"^no run in .*, down to 3 folders deep"):
        gather([tmp_path])


def test_nothing_finished_is_nothing_compared(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "x-0", 0, None)
    gathered = gather([tmp_path])
    assert answer(gathered) == ("No run is finished yet, so there is nothing to compare. Of 1 run, 1 is not finished.")
    assert gathered.runs[0].reason == "0 of 3 epochs are done"


def test_what_a_link_leads_to_is_left_out_and_told(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "given" / "x-0", 0, 60.0)
    fake_run(tmp_path / "mine" / "y-0", 0, 61.0, "training.lr=0.3")
    (tmp_path / "given" / "y-0").symlink_to(tmp_path / "mine" / "y-0")
    gathered = gather([tmp_path / "given"])
    assert [row.name for row in gathered.rows] == ["x"]
    assert gathered.notes[0].startswith(f"{tmp_path}/given/y-0 leads out of {tmp_path}/given, to {tmp_path}/mine/y-0")
    assert len(gather([tmp_path / "given", tmp_path / "mine"]).rows) == 2
    sweep(tmp_path / "given", [row("a", {"0": "y-0"})])
    with pytest.raises(LayerlinkError, match="must be a folder inside the sweep's"):
        gather([tmp_path / "given"])
