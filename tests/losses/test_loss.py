"""What a loss may be and ask for: functions, modules, one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses import CRD, LOSSES, Facts, LossKind, kd, loss, loss_kind


def own(student: Tensor, teacher: Tensor, *, labels: Tensor, power: float = 2.0, exact: bool = False) -> Tensor:
    return ((student - teacher).abs() ** power).mean() + labels.sum() * 0 + float(exact)


class Own(nn.Module):
    def __init__(self, student: torch.Size, teacher: torch.Size, *, num_classes: int, width: int = 3) -> None:
        super().__init__()
        self.map = nn.Linear(student[1], width)
        self.num_classes = num_classes

    def forward(self, student: Tensor, teacher: Tensor, *, indices: Tensor) -> Tensor:
        return self.map(student).mean() + indices.sum() * 0


def test_what_a_loss_needs_and_its_options_are_read_off_it() -> None:
    function, module = loss_kind(own), loss_kind(Own)
    assert (function.needs(), function.options()) == ({"labels"}, {"power": 2.0, "exact": False})
    assert (module.needs(), module.options(), module.needs_facts()) == ({"indices"}, {"width": 3}, {"num_classes"})
    assert (function.is_module, module.is_module) == (False, True)
    assert loss_kind("dkd").needs() == {"labels"}
    assert loss_kind("crd").needs_facts() == {"train_size"}


def test_a_module_is_made_from_shapes_facts_and_options() -> None:
    built = loss_kind(Own).build(torch.Size((2, 5)), torch.Size((2, 7)), {"width": 4}, Facts(num_classes=10))
    assert isinstance(built, Own)
    assert (built.map.weight.shape, built.num_classes) == ((4, 5), 10)
    with pytest.raises(UsageError, match=r"Own needs num_classes: pass facts=layerlink.Facts\(num_classes=...\)"):
        loss_kind(Own).build(torch.Size((2, 5)), torch.Size((2, 7)), {}, Facts())
    made = loss_kind(built)
    assert made.build(None, None, {}, Facts()) is built
    assert made.needs() == {"indices"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kd", {"temprature": 2}, "unknown option of kd 'temprature'. Did you mean temperature?"),
        ("kd", {"temperature": "hot"}, "kd: temperature must be a number; got 'hot'"),
        ("kd", {"t_squared": 1}, "kd: t_squared must be True or False; got 1"),
        ("kd", {"form": 3}, "kd: form must be a text; got 3"),
        ("minilm", {"heads": 2.5}, "minilm: heads must be a whole number; got 2.5"),
        ("mse", {"mask": 1}, "unknown option of mse 'mask'. Known: none."),
        ("crd", {"train_size": 3}, "unknown option of CRD 'train_size'."),
    ],
)
def test_a_wrong_option_is_answered(name: str, options: dict[str, Any], message: str) -> None:
    (problem,) = loss_kind(name).problems(options)
    assert message in problem


def test_a_required_option_is_asked_for() -> None:
    def strict(student: Tensor, teacher: Tensor, *, margin: float) -> Tensor:
        return student.mean()

    assert loss_kind(strict).problems({}) == ["strict needs the option margin: write strict(margin=...)"]


def test_a_loss_of_ones_own_says_what_it_is() -> None:
    @loss(taps=2, between_images=True, degree=1)
    def pairs(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
        return student[0].mean()

    kind = loss_kind(pairs)
    assert (kind.taps, kind.between_images, kind.degree) == (2, True, 1)
    assert (loss_kind(own).taps, loss_kind(own).degree) == (1, None)
    assert loss_kind(kind) is kind
    with pytest.raises(UsageError, match=r"a loss is a function or an nn\.Module; got int"):
        loss_kind(3)


def test_a_path_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_losses.py").write_text(
        "def rkd_of_mine(student, teacher, *, labels):\n    return student.mean()\n"
    )
    (tmp_path / "my_broken_losses.py").write_text("raise RuntimeError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "my_own_losses" not in sys.modules
    assert loss_kind("my_own_losses:rkd_of_mine").needs() == {"labels"}
    for path, message in (
        ("my_own_losses:rkd_of_mien", "unknown callable 'rkd_of_mien'. Did you mean rkd_of_mine"),
        ("my_broken_losses:x", "cannot import 'my_broken_losses' (RuntimeError: no ("),
        ("no_such_module_here:x", "cannot import 'no_such_module_here' (ModuleNotFoundError"),
        ("my_own_losses:__name__", "unknown callable '__name__'"),
    ):
        with pytest.raises(UsageError) as caught:
            loss_kind(path)
        assert message in str(caught.value)


def test_names_of_the_package_are_the_losses_themselves() -> None:
    import layerlink.losses.outputs.kd
    import layerlink.losses.relations.crd

    assert layerlink.losses.kd is kd
    assert callable(layerlink.losses.kd)
    assert layerlink.losses.CRD is CRD
    for name, kind in LOSSES.items():  # as docs/losses.md has it: in Python layerlink.losses.NAME
        assert getattr(layerlink.losses, name) is kind.make
        assert name in layerlink.losses.__all__
    assert all(isinstance(kind, LossKind) for kind in LOSSES.values())
