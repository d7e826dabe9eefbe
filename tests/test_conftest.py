"""The counting of property cases itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROPERTY = """
from hypothesis import assume, given, strategies as st

@given(st.integers())
def test_a_property(number):
    assume(number != 0)
"""


@pytest.mark.parametrize(
    ("profile", "least", "code", "processes"), [("short", 20_000, 1, 0), ("short", 20_000, 1, 2), ("long", 900, 0, 2)]
)
def test_cases_are_counted_and_too_few_fail(
    profile: str, least: int, code: int, processes: int, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_one.py").write_text(PROPERTY)
    words = [
        "--hypothesis-profile",
        profile,
        "--least-cases",
        str(least),
        "-p",
        "no:cacheprovider",
        "-n",
        str(processes),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "test_one.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    found = re.search(r"property cases: ([\d,]+)(; expected at least 20,000)?", done.stdout)
    assert found is not None
    assert int(found[1].replace(",", "")) == {"short": 50, "long": 900}[profile]
    assert bool(found[2]) == bool(code)
