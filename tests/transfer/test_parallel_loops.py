"""Own loops with several processes: torch's wrappers around distiller or student give right gradients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from torch import nn

import layerlink as ll
from group import SUPPORT, run_group
from layerlink.errors import UsageError
from versions import sharded

LOOP = SUPPORT / "own_loop.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The largest error, and how often sharing was advised: of both processes, by kind of loop."""
    ended = run_group([str(LOOP)], 2, tmp_path_factory.mktemp("loop"))
    assert [code for code, _, _ in ended] == [0, 0], ended[0][2]
    return [json.loads(out) for _, out, _ in ended]


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "ddp",
            "ddp-links-alone",
            "ddp-scaled",
            "ddp-adapter",
            "ddp-between",
            "ddp-between-trained",
            "ddp-masked",
            "ddp-labelled",
        ),
        pytest.param("fsdp", marks=sharded),
        pytest.param("fsdp-adapter", marks=sharded),
    ],
)
def test_gradients_are_those_of_one_process_with_the_whole_batch(kind: str, found: list[dict[str, Any]]) -> None:
    # Gradients are about 0.1 here; halves that were not averaged, or a link that was left out, would show in it.
    assert all(it[kind][0] < 1e-6 for it in found)


def test_a_loop_that_shares_nothing_is_told_once_where_that_counts(
    found: list[dict[str, Any]],
) -> None:
    for it in found:
        told = {kind: pair[1] for kind, pair in it.items() if kind != "other shapes" and pair[1]}
        assert told == dict.fromkeys(("ddp-scaled", "ddp-between", "ddp-between-trained", "ddp-masked"), 1)


def test_other_shapes_in_other_processes_are_told_by_all(found: list[dict[str, Any]]) -> None:
    for it in found:
        assert (
            "processes have activations of (3, 16), (4, 16). Give every process as many examples" in it["other shapes"]
        )


def test_without_other_processes_there_is_nothing_to_share_with() -> None:
    distiller = ll.Distiller(nn.Linear(4, 3), nn.Linear(4, 3), soft=ll.Soft())
    with pytest.raises(UsageError, match="there are no other processes: call torch"):
        distiller.share_with()
