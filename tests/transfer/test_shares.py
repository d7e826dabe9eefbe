"""What a part of a batch counts in it, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.losses.table import LOSSES
from layerlink.transfer.shares import shares_of

NAN = float("nan")


def two() -> tuple[nn.Module, nn.Module]:
    return nn.Linear(3, 2), nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("task", "labels", "share"),
    [
        (ll.Classification(), [torch.tensor([0, 1]), torch.tensor([1, 1, 0, 0])], 1 / 3),
        (ll.Classification(unlabelled=-1), [torch.tensor([0, -1]), torch.tensor([1, 1, 0, -1])], 1 / 4),
        (ll.MultiLabel(unlabelled=-1), [torch.tensor([[1.0, -1]]), torch.tensor([[0.0, 1], [-1, -1], [1, 1]])], 1 / 5),
        (ll.Regression(), [torch.tensor([[1.0, NAN]]), torch.tensor([[0.0, 1], [NAN, NAN], [2, 1]])], 1 / 5),
    ],
)
def test_labels_count_where_they_are_known(task: ll.Task, labels: list[Tensor], share: float) -> None:
    """The parts' gradients, by these shares, are those of the labels' loss of all at once."""
    distiller = ll.Distiller(None, two()[1], task=task)
    inputs = [torch.randn(len(each), 3, generator=torch.Generator().manual_seed(1)) for each in labels]
    shares = shares_of(distiller, [({"input": one}, each) for one, each in zip(inputs, labels, strict=True)])
    assert [each["hard"] for each in shares] == pytest.approx([share, 1 - share])
    whole = distiller(torch.cat(inputs), torch.cat(labels)).terms["hard"].detach()
    parts = [distiller(one, each).terms["hard"].detach() for one, each in zip(inputs, labels, strict=True)]
    assert float(share * parts[0] + (1 - share) * parts[1]) == pytest.approx(float(whole))


def test_links_count_by_what_they_compare_of_their_mask() -> None:
    teacher, student = two()
    links = ["weights : attention_mse, where=mask", "words : mse, where=mask"]
    distiller = ll.Distiller(Attends(teacher), Attends(student), hard=0, links=links)
    masks = torch.tensor([[1, 1, 1, 0]]), torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0]])
    shares = shares_of(distiller, [({"x": torch.zeros(len(mask), 4, 3), "mask": mask}, None) for mask in masks])
    pairs = [float(LOSSES["attention_mse"].counted(mask.bool()).sum()) for mask in masks]
    assert pairs == [9, 1 + 4]
    assert [each[distiller.objective.links[0].text] for each in shares] == pytest.approx([9 / 14, 5 / 14])
    assert [each[distiller.objective.links[1].text] for each in shares] == pytest.approx([1 / 2, 1 / 2])


class Attends(nn.Module):
    """Words, and how much each looks at each."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.words, self.weights = layer, nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        words: Tensor = self.words(x)
        return torch.as_tensor(self.weights((words @ words.transpose(1, 2)).softmax(-1)[:, None]))
