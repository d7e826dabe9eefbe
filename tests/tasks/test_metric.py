"""Metrics of other packages beside a task's own numbers."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import matthews_corrcoef

import layerlink as ll
from layerlink.errors import UsageError
from layerlink.tasks import Task, WithMetrics
from other_tasks import Matthews


def test_everything_else_is_the_tasks_own() -> None:
    derived = {"chance_met"}  # from chance and score
    own = {name for name in vars(Task) if not name.startswith("_")} | {"name", "score"}
    assert own - derived <= set(vars(WithMetrics))
    torch.manual_seed(0)
    outputs = [torch.randn(4, 3), torch.randn(4, 3)]
    labels = WithMetrics(ll.MultiLabel(), {})
    assert torch.equal(labels.averaged(outputs, [0.5, 0.5], 2), ll.MultiLabel().averaged(outputs, [0.5, 0.5], 2))
    target, chosen = torch.ones(2, 3, dtype=torch.uint8), torch.tensor([True, False])
    assert torch.equal(labels.without_label(target, chosen), ll.MultiLabel().without_label(target, chosen))
    maps = WithMetrics(ll.Segmentation(ignore=7), {})
    assert (maps.ignore, maps.no_label) == (7, ll.Segmentation(ignore=7).no_label)
    assert WithMetrics(ll.Classification(), {}).one_class
    assert not maps.one_class


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
