"""Counting and comparing of what is measured beside other tools; the trainings themselves are not run here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "peers", raising=False)
    import peers

    return peers


def row(case: str, loss: float, rate: float = 1.0) -> dict[str, Any]:
    return {
        "case": case,
        "images_per_second": rate,
        "images_per_cpu_second": 2 * rate,
        "memory_mb": 3.0,
        "first_step_s": 4.0,
        "first_step_cpu_s": 4.0,
        "losses": [loss],
    }


def test_lines_are_those_that_a_user_writes(peers: Any, tmp_path: Path) -> None:
    loop = tmp_path / "loop.py"
    loop.write_text("import torch\n# lines:\nfor x in y:\n\n    # why\n    step(x)\n# end\nmain()\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("# a comment\na: 1\n\nb: 2\n")
    assert (peers.lines_of(loop), peers.lines_of(recipe)) == (2, 2)


def test_a_case_that_computes_something_else_ends_the_run(peers: Any) -> None:
    peers.check([row("plain loop", 100.0), row("torchdistill", 100.005), row("layerlink", 101.5)])
    with pytest.raises(SystemExit, match=r"torchdistill: the first step's loss is 100\.02"):
        peers.check([row("plain loop", 100.0), row("torchdistill", 100.02)])
    with pytest.raises(SystemExit, match="layerlink: "):
        peers.check([row("plain loop", 100.0), row("layerlink", 103.0)])


def test_the_table_gives_median_and_range(peers: Any) -> None:
    text = peers.table([row("plain loop", 7.0, rate) for rate in (10.0, 30.0, 20.0)])
    assert "| plain loop | **20** (10 to 30) | **40** (20 to 60) | **3** (3 to 3) |" in text
    assert "torchdistill" not in text


def test_all_cases_are_there(peers: Any) -> None:
    for file, _, configuration in peers.CASES.values():
        assert (peers.HERE / file).exists()
        assert peers.lines_of(peers.HERE / configuration) > 5
