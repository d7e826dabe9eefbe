"""Own loops with several processes: torch's wrappers around distiller or student give right gradients."""

from __future__ import annotations

import json

import pytest

from group import SUPPORT, run_group

LOOP = SUPPORT / "own_loop.py"


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Of both processes, by kind of loop."""
    ended = run_group([str(LOOP)], 2, tmp_path_factory.mktemp("loop"))
    assert [code for code, _, _ in ended] == [0, 0], ended[0][2]
    return [json.loads(out) for _, out, _ in ended]


@pytest.mark.parametrize(
    "kind",
    [
        *("ddp", "ddp-links-alone", "ddp-scaled", "ddp-adapter", "ddp-between", "ddp-masked", "ddp-labelled"),
        *("fsdp", "fsdp-adapter"),
    ],
)
def test_gradients_are_those_of_one_process_with_the_whole_batch(kind: str, errors: list[dict[str, float]]) -> None:
    # Gradients are about 0.1 here; halves that were not averaged, or a link that was left out, would show in it.
    assert all(error[kind] < 1e-6 for error in errors)
