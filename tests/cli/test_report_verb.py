"""`layerlink report` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerlink.cli.main import run_command_line

RECIPE = "student: {model: vgg7, arguments: {width: 0.05}}\ntraining: {epochs: 1}\n"


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, lr, accuracy in (("slow", 0.1, 60.0), ("fast", 0.2, 70.0)):
        for seed in (0, 1):
            folder = tmp_path / "runs" / f"{name}-{seed}"
            folder.mkdir(parents=True)
            lines = RECIPE.replace("epochs: 1", f"epochs: 1, lr: {lr}") + f"seed: {seed}\n"
            (folder / "recipe.yaml").write_text(lines)
            result = {"test_accuracy": accuracy + seed / 10, "test_images": 100, "validation_accuracy": 50.0}
            (folder / "result.json").write_text(json.dumps(result))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command_line(["report", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_prints_answer_table_and_page(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "runs", "--no-measure")
    assert (code, err) == (0, "")
    answer, _, header, fast, *_ = out.splitlines()
    assert answer.startswith(
        "“fast” is best: it reads 70.0 % (sd 0.1, n = 2) of the test images right, 10.0 points more"
    )
    assert header.split()[:3] == ["row", "test", "accuracy,"]
    assert fast.split()[:5] == ["fast", "70.05", "±", "0.07", "2"]
    assert out.splitlines()[-1] == "page   runs/report/index.html"
    assert Path("runs/report/index.html").exists()


def test_another_row_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = call(capsys, "runs", "--no-measure", "--against", "fast")
    assert code == 0
    assert "minus “fast”, points" in Path("runs/report/report.md").read_text()
    again = "layerlink report runs --against fast --no-measure --out runs/report"
    assert again in Path("runs/report/report.md").read_text()
    code, _, err = call(capsys, "runs", "--no-measure", "--against", "fats")
    assert code == 2
    assert err == "layerlink: unknown row 'fats'. Did you mean fast?\n"


def test_out_and_several_folders(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "runs/slow-0", "runs/fast-0", "--out", "here/it is", "--no-measure")
    assert code == 0
    assert "Each row has a single seed" in out
    assert sorted(path.name for path in Path("here/it is").iterdir()) == [
        "figures",
        "index.html",
        "report.md",
        "tables",
    ]
    assert "report runs/slow-0 runs/fast-0 --no-measure --out 'here/it is'`" in Path("here/it is/report.md").read_text()
    assert not Path("runs/slow-0/report").exists()


def test_without_a_teacher_it_says_why_nothing_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "runs")
    assert (code, err) == (0, "")
    assert "Teacher and students were not measured: there is no teacher among these runs" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "there is no folder nowhere"),
        (["empty"], 2, "no run in empty, down to 3 folders deep"),
        ([], 2, "DIR"),
        (["runs", "--measure", "0"], 2, "--measure"),
        (["broken"], 1, "broken/sweep.json cannot be read"),
        (["runs", "--no-measure", "--out", "runs/slow-0/recipe.yaml"], 2, "recipe.yaml is a file, and a report"),
    ],
)
def test_a_mistake_is_a_sentence(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/sweep.json").write_text("{")
    left, out, err = call(capsys, *arguments)
    assert left == code, err
    assert message in err
    assert "Traceback" not in err + out


def test_the_verb_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert "Example: layerlink report runs/study" in " ".join(out.split())
