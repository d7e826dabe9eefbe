from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from layerlink.design.propose import costs
from layerlink.design.propose.costs import cost_of, fits
from layerlink.transfer import Link


def test_what_an_adapter_can_bring_together() -> None:
    assert fits((4, 8, 8), (16, 4, 4))
    assert fits((12, 8), (12, 16))
    assert fits((17, 8), (16, 4, 4))
    assert not fits((8,), (16, 4, 4))
    assert not fits((24, 8), (5, 3, 3))  # 24 tokens are neither 3x3 nor a square after up to five class tokens


def test_a_link_is_timed_and_what_is_stored_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link.parse("a -> b : mse, scale=teacher, adapter=auto")
    state = torch.get_rng_state()
    cost = cost_of(link, (8, 4, 6, 6), (8, 16, 6, 6), torch.device("cpu"), nullcontext)
    assert 0 < cost.milliseconds < 1000
    assert cost.stored == 2 * 16 * 6 * 6
    assert torch.equal(torch.get_rng_state(), state)

    seen = []
    monkeypatch.setattr(costs, "measure", lambda work, _device: seen.append(work()) or costs_timing())
    monkeypatch.setattr(costs, "MOST_BYTES", 4 * 16 * 36 * 2)
    assert cost_of(link, (8, 4, 6, 6), (8, 16, 6, 6), torch.device("cpu"), nullcontext).milliseconds == 12.0


def costs_timing() -> object:
    """Of a quarter of the batch, which the whole batch takes four times."""
    from layerlink.measure.timing import Timing

    return Timing(3.0, 3.0, 3.0, 7)
