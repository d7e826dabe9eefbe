from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.teachers import CalledTeacher, FrozenTeacher, KeepingTeacher, StoredTeacher, as_teacher, models_of
from layerlink.teachers.store import StoreWriter, TensorStore

IMAGES = torch.randn(6, 4)


class Asked:
    """A teacher that notes what it is asked for."""

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
        self.live, self.asked = FrozenTeacher(self.model), []

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        self.asked.append(tuple(wanted))
        return self.live(inputs, self.asked[-1], indices=indices)

    def models(self) -> tuple[nn.Module, ...]:
        return (self.model,)


def test_what_is_stored_is_read_and_only_the_rest_is_asked_for(tmp_path: Path) -> None:
    live = Asked()
    with StoreWriter(tmp_path / "logits", {}, rows=6) as writer:
        writer.add(live.model(IMAGES))
    teacher = StoredTeacher(live, {OUTPUT: TensorStore(tmp_path / "logits")})
    rows = torch.tensor([4, 1])
    given = teacher(IMAGES[rows], [OUTPUT, Tap("0")], indices=rows)
    assert torch.equal(given.values[OUTPUT], live.model(IMAGES)[rows])
    assert torch.allclose(given.values[Tap("0")], live.model[0](IMAGES[rows]))
    teacher(IMAGES[rows], [OUTPUT], indices=rows)
    assert live.asked == [(Tap("0"),)], "the model is not run for what is stored"
    teacher(IMAGES[rows], [OUTPUT])
    assert live.asked[1:] == [(OUTPUT,)], "without places in the data set nothing can be read"
    assert models_of(teacher) == (live.model,)


def test_logits_are_handed_on_once_every_example_was_seen() -> None:
    live, kept = Asked(), []
    teacher = KeepingTeacher(live, 6, kept.append)
    for rows in (torch.tensor([5, 0, 2]), torch.tensor([1, 3])):
        teacher(IMAGES[rows], [OUTPUT], indices=rows)
        assert not kept
    rows = torch.tensor([4])
    teacher(IMAGES[rows], [OUTPUT], indices=rows)
    assert torch.allclose(kept[0], live.model(IMAGES), atol=1e-6)


def test_a_distiller_takes_a_teacher_a_module_and_any_callable() -> None:
    student, live = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), Asked()
    distiller = ll.Distiller(live, student, hard=0, soft=ll.Soft(), links=["0 : mse"])
    distiller(IMAGES)
    assert live.asked == [(OUTPUT, Tap("0"))]
    assert isinstance(as_teacher(nn.Linear(4, 3)), FrozenTeacher)
    assert isinstance(as_teacher(lambda inputs: Activations(inputs)), CalledTeacher)
    assert as_teacher(None) is None
