"""Metrics of other packages beside a task's own numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import matthews_corrcoef
from torch import Tensor

import layerlink as ll
from layerlink.errors import UsageError
from layerlink.tasks import WithMetrics


class Matthews:
    """As torchmetrics writes them."""

    def reset(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.seen.append((preds.argmax(1), target))

    def compute(self) -> Any:
        answers, labels = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        return torch.tensor(matthews_corrcoef(labels.flatten(), answers.flatten()))


def test_a_metric_is_given_all_outputs_and_targets() -> None:
    torch.manual_seed(0)
    output, labels = torch.randn(40, 3), torch.randint(0, 3, (40,))
    for select in (None, "matthews"):
        task = WithMetrics(ll.Classification(), {"matthews": Matthews()}, select)
        numbers = task.summary(torch.cat([task.judge(output[:9], labels[:9]), task.judge(output[9:], labels[9:])]))
        assert numbers["matthews"] == pytest.approx(matthews_corrcoef(labels, output.argmax(1)))
        assert numbers["accuracy"] == pytest.approx(100 * float((output.argmax(1) == labels).double().mean()))
        assert next(iter(numbers)) == task.score.name == (select or "accuracy")
        assert torch.equal(task.hard(output, labels), ll.Classification().hard(output, labels))
    maps = WithMetrics(ll.Segmentation(), {"matthews": Matthews()})
    assert "miou" in maps.summary(maps.judge(torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))))
    with pytest.raises(UsageError, match="select is one of them"):
        WithMetrics(ll.Classification(), {"a": Matthews()}, "b")
