from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.design.export.folding import fold_batch_norms


def lively(model: nn.Module) -> nn.Module:
    """With statistics and weights that a norm does something by."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            with torch.no_grad():
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 3)
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(it, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for it in model.modules())


class Norm(nn.Module):
    """A convolution and a norm, and what is between or beside them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.norm = kind, nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.kind == "changed in place":
            y.relu_()
        z = self.norm(y)
        if self.kind == "read elsewhere":
            return z + y
        if self.kind == "called twice":
            return z.mean() + self.norm(self.conv(x + 1))
        return z if self.kind == "plain" or float(x.sum()) > 1e9 else torch.relu(z)  # fx cannot trace this one


@pytest.mark.parametrize(
    ("model", "shape", "left"),
    [
        (lambda: ll.build_model("resnet20"), (2, 3, 32, 32), 0),
        (lambda: ll.build_model("vgg7", num_classes=9, image_size=32, width=0.1, batch_norm=True), (2, 3, 32, 32), 0),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), (3, 5), 0),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 2), nn.BatchNorm2d(6)), (2, 3, 5, 5), 0),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 2)), (2, 3, 5, 5), 1),
        (lambda: Norm("plain"), (2, 3, 5, 5), 0),
        (lambda: Norm("untraceable"), (2, 3, 5, 5), 0),
        (lambda: Norm("read elsewhere"), (2, 3, 5, 5), 1),
        (lambda: Norm("changed in place"), (2, 3, 5, 5), 1),
        (lambda: Norm("called twice"), (2, 3, 5, 5), 1),
    ],
)
def test_a_folded_model_answers_the_same(model: object, shape: tuple[int, ...], left: int) -> None:
    own = lively(model())  # type: ignore[operator]
    folded = copy.deepcopy(own)
    count = fold_batch_norms(folded, (torch.randn(shape),))
    assert norms(folded) == left == norms(own) - count
    x = torch.randn(7, *shape[1:])
    with torch.no_grad():
        assert torch.allclose(folded(x), own(x), rtol=1e-4, atol=1e-4 * float(own(x).abs().max()))


def test_one_pair_that_cannot_be_folded_leaves_the_others_folded() -> None:
    model = lively(nn.Sequential(Norm("plain"), nn.Conv2d(4, 3, 1), Norm("read elsewhere")))
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded, (torch.randn(2, 3, 8, 8),)) == 1
    x = torch.randn(3, 3, 8, 8)
    assert torch.allclose(folded(x), model(x), atol=1e-4)
