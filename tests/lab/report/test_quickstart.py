from __future__ import annotations

from pathlib import Path

import pytest

from layerlink.lab.report.quickstart import STUDENTS, compare
from layerlink.lab.run.folder import RunFolder


@pytest.mark.usefixtures("quick_digits")
def test_teacher_and_three_students_end_on_one_page_and_are_not_trained_twice(tmp_path: Path, notes: type) -> None:
    first, second = notes(), notes()
    out = tmp_path / "quickstart"
    comparison = compare(out, seed=0, watch=first)
    assert [row[0].text for row in comparison.rows] == ["teacher", *STUDENTS]
    assert len({row[2].text for row in comparison.rows[1:]}) == 1  # students of one shape
    assert all(row[4].value is not None and 0 <= row[4].value <= 100 for row in comparison.rows[1:])
    page = comparison.page.read_text(encoding="utf-8")
    for text in ("labels only", "+ soft and links", "group3 : mse", "layerlink quickstart --seed 0"):
        assert text in page
    for run in ("teacher", "hard", "soft", "links"):
        assert RunFolder(out / run).result.exists()
    again = compare(out, seed=0, watch=second)
    assert second.rows == []
    assert again.answer == comparison.answer
    assert len(first.rows) == 4  # an epoch each
