"""How inputs become arguments is said beside the model's own error."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

import layerlink as ll

X, Y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an error has no notes before Python 3.11")
@pytest.mark.parametrize(
    ("inputs", "kind", "note"),
    [
        ((X, Y), TypeError, "its positional arguments, here 2. Of a batch (images, labels) pass the images"),
        ([X], TypeError, "a list as one argument"),
        ({"input": X, "labels": Y}, TypeError, "keyword arguments, here input, labels. Pass those that"),
        (X.double(), RuntimeError, "weights are torch.float32, its inputs torch.float64. Run both under"),
        (X[:, :2], RuntimeError, None),
        (X.long(), RuntimeError, None),
    ],
)
def test_the_models_own_error_has_a_note(inputs: Any, kind: type[Exception], note: str | None) -> None:
    with pytest.raises(kind) as caught:
        ll.Distiller(None, nn.Linear(3, 2))(inputs, Y)
    notes = getattr(caught.value, "__notes__", [])
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_a_teacher_in_other_digits_has_inputs_of_its_own(kind: torch.dtype) -> None:
    """As the note says it."""
    torch.manual_seed(0)
    teacher, student = nn.Linear(3, 2).to(kind), nn.Linear(3, 2)
    frozen = ll.teachers.FrozenTeacher(teacher, view=lambda inputs: inputs.to(kind))
    x = torch.randn(4, 3)
    losses = ll.Distiller(frozen, student, hard=0, links=["@output : mse"])(x)
    losses.total.backward()
    expected = (student(x) - teacher(x.to(kind)).to(torch.float64)).square().mean()
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
