"""The layer that gives a model's logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.errors import ProblemsError, UsageError
from layerlink.losses import wkd
from layerlink.models import build_model
from layerlink.taps import Observed
from layerlink.taps.classifier import classifier_of


class TwoHeads(nn.Module):
    """An auxiliary head stands last; the logits are the first's."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.aux = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Any:
        x = self.body(x).relu()
        return {"logits": self.fc(x), "aux": self.aux(x)}


class NoHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x).softmax(1)
        return out


def test_it_is_found_by_what_it_gives() -> None:
    model, x = TwoHeads(), torch.randn(2, 6)
    assert classifier_of(Observed(model), x) is model.fc
    assert classifier_of(Observed(model, output="aux"), x) is model.aux
    assert classifier_of(Observed(model, head="aux"), None) is model.aux
    for name in ("vgg7", "resnet8"):
        net = build_model(name, num_classes=4, image_size=32)
        found = classifier_of(Observed(net), torch.randn(2, 3, 32, 32))
        assert isinstance(found, nn.Linear)
        assert found.out_features == 4


def test_where_it_is_not_there_the_user_is_told_how_to_name_it() -> None:
    with pytest.raises(UsageError, match=r"no linear layer is seen to give its logits: name it: teacher_head='LAYER'"):
        classifier_of(Observed(NoHead(), "teacher"), torch.randn(2, 6))
    with pytest.raises(UsageError, match="pass example=inputs of two examples, or name it"):
        classifier_of(Observed(NoHead(), "teacher"), None)
    with pytest.raises(UsageError, match=r"unknown layer 'fcc'\. Did you mean fc"):
        classifier_of(Observed(NoHead(), "teacher", head="fcc"), None)


@pytest.mark.parametrize("how", [{"example": torch.randn(2, 6)}, {"teacher_head": "fc"}])
def test_a_distiller_gives_it_to_a_loss(how: dict[str, Any]) -> None:
    torch.manual_seed(0)
    teacher, student = TwoHeads(), TwoHeads()
    distiller = ll.Distiller(teacher, student, links=["@output : wkd(gamma=10.0) * 2"], **how)
    x, y = torch.randn(5, 6), torch.arange(5) % 4
    losses = distiller(x, y)
    expected = wkd(student(x)["logits"], teacher(x)["logits"], labels=y, teacher_head=teacher.fc, gamma=10.0)
    assert float(losses.terms["@output : wkd(gamma=10.0) * 2"].detach()) == pytest.approx(float(expected.detach()))
    losses.total.backward()
    assert not [name for name in distiller.state_dict() if "head" in name]  # it is nobody's but the teacher's
    assert not list(distiller.link_parameters())
    several = ll.Distiller({"a": teacher, "b": TwoHeads()}, student, links=["b/@output : wkd"], example=x)
    assert torch.isfinite(several(x, y).total)
    with pytest.raises(ProblemsError, match="needs the teacher's classifier: pass example"):
        ll.Distiller(teacher, student, links=["@output : wkd"])
    with pytest.raises(ProblemsError, match="this teacher gives its outputs alone"):
        ll.Distiller(lambda inputs: torch.randn(len(inputs), 4), student, links=["@output : wkd"], example=x)
