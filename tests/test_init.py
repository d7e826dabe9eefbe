"""``import layerlink`` loads nothing, and what the pages call by its full name is there in a fresh process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import layerlink
assert "torch" not in sys.modules
import torch
scores, labels = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([1])
print(float(layerlink.losses.kd(scores, 2 * scores, temperature=2.0)))
for room in ("adapters", "models", "taps", "tasks", "teachers", "transfer"):
    assert getattr(layerlink, room).__name__ == f"layerlink.{room}"
    assert room in dir(layerlink)
"""


def test_rooms_are_loaded_when_they_are_used() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    import torch

    scores = torch.tensor([[0.0, 1.0, 2.0]])
    taught = scores.softmax(1)
    expected = 4 * (taught * (taught.log() - (scores / 2).log_softmax(1))).sum()
    assert abs(float(ended.stdout) - float(expected)) < 1e-5
