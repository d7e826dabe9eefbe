from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from layerlink.measure.latency import measure_latency


def test_inputs_by_name_count_their_rows() -> None:
    class Adds(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a + b

    found = measure_latency(Adds(), {"a": torch.ones(3, 2), "b": torch.ones(3, 2)}, nullcontext)
    assert found.batch == 3
