from __future__ import annotations

import pytest

from layerlink.cli.terminal.epochs import cohort_lines, epoch_lines
from layerlink.tasks import ACCURACY, Regression

ROW = {
    "epoch": 3,
    "hard": 1.25,
    "soft": 0.5,
    "group2 : mse * 40": 0.00051234,
    "encoder.layers.5.attention.output -> block3 : at": 12.0,
    "train_accuracy": 50.0,
    "validation_accuracy": 61.5,
    "lr": 0.1,
    "images_per_second": 1234.4,
    "seconds": 3.0,
}


def test_everything_under_its_name_where_there_is_room() -> None:
    header, line = epoch_lines(ROW, epochs=10, score=ACCURACY, width=200)
    assert header.split()[:7] == ["epoch", "validation", "train", "images/s", "hard", "soft", "group2"]
    assert header.endswith("   encoder.l…> block3")
    assert line.split() == ["3/10", "61.5", "%", "50.0", "%", "1,234", "1.25", "0.5", "0.0005123", "12"]
    for name, value in (("hard", "1.25"), ("soft", "0.5"), ("group2", "0.0005123"), ("images/s", "1,234")):
        assert header.index(name) + len(name) == line.index(f" {value} ") + 1 + len(value)


@pytest.mark.parametrize("width", range(24, 140))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    header, line = epoch_lines(ROW, epochs=10, score=ACCURACY, width=width)
    assert max(len(header), len(line)) <= max(width, 32)
    terms = sum(name in header for name in ("hard", "soft", "group2", "block3"))
    assert terms == 4 or f"+ {4 - terms} more" in header  # none vanishes without a word
    assert terms == 4 or not {"train", "images/s"} & set(header.split())  # what teaches comes before the speed


def test_rows_of_a_training_have_one_header() -> None:
    late = {**ROW, "epoch": 10, "hard": 0.000012345, "validation_accuracy": 100.0, "images_per_second": 99.0}
    assert (
        epoch_lines(ROW, epochs=10, score=ACCURACY, width=130)[0]
        == epoch_lines(late, epochs=10, score=ACCURACY, width=130)[0]
    )


def test_a_task_tells_its_own_score() -> None:
    row = {"epoch": 1, "hard": 2.0, "validation_mae": 0.123456, "images_per_second": 10.0}
    score = Regression().score
    header, line = epoch_lines(row, epochs=1, score=score, width=80)
    assert header.split()[:2] == ["epoch", "validation"]
    assert score.show(0.123456) in line


@pytest.mark.parametrize("width", [80, 130, 200])
def test_several_students_between_the_best_and_the_worst(width: int) -> None:
    best, worst = ("links 1-6 of everything that the teacher knows-0", 97.46), ("labels only-2", 8.0)
    header, line = cohort_lines(
        *(best, worst), epoch=" 3/10", students=9, seconds=62.4, score=ACCURACY, names=len(best[0]), width=width
    )
    assert max(len(header), len(line)) <= width
    assert line.split()[:4] == ["3/10", "9", "97.5", "%"]
    assert line.endswith("62")
    assert header.index("worst") == line.index("  8.0 % ")
    assert (best[0] in line) == (width > 130)
    assert worst[0] in line
