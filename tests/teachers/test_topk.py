"""What is kept of a teacher's likeliest classes, beside all of its logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import layerlink as ll
from layerlink.losses.outputs.topk_kl import topk_kl, topk_kl_of
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.tasks import CausalLM
from layerlink.teachers import FrozenTeacher
from layerlink.teachers.store import StoreWriter, TensorStore
from layerlink.teachers.topk import TopK


def logits(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_probabilities_come_back(k: int) -> None:
    top, given = TopK(k, 2.0), logits(3, 4, 50)
    kept = top.pack(given)
    assert kept.dtype == torch.int32
    assert kept.element_size() * kept.shape[-1] == top.nbytes
    logs, chosen = top.unpack(kept)
    whole = (given / 2).softmax(-1)
    best = whole.topk(k)
    assert torch.equal(chosen, best.indices)
    assert torch.allclose(logs[..., :k].exp(), best.values, rtol=3e-3)
    assert torch.allclose(logs[..., k].exp(), 1 - best.values.sum(-1), rtol=3e-3, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_is_that_of_all_logits(masked: bool) -> None:
    student, teacher = logits(2, 5, 40, seed=1).requires_grad_(), logits(2, 5, 40)
    mask = torch.arange(10).view(2, 5) % 3 > 0 if masked else None
    logs, chosen = TopK(6, 1.5).unpack(TopK(6, 1.5).pack(teacher))
    stored = topk_kl_of(student, logs, chosen, mask=mask, temperature=1.5)
    whole = topk_kl(student, teacher, mask=mask, k=6, temperature=1.5)
    assert stored.item() == pytest.approx(whole.item(), rel=2e-3)
    gradients = [torch.autograd.grad(loss, student)[0] for loss in (stored, whole)]
    assert torch.allclose(*gradients, atol=1e-3 * float(gradients[1].abs().max()))


def test_other_positions_are_told() -> None:
    logs, chosen = TopK(3, 1.0).unpack(TopK(3, 1.0).pack(logits(2, 5, 40)))
    with pytest.raises(ll.UsageError, match=r"fewer than C classes .* got \(2, 4, 40\) and \(2, 5, 3\)"):
        topk_kl_of(logits(2, 4, 40), logs, chosen)


def test_a_tap_says_what_is_kept() -> None:
    assert TopK.of(TopK(64, 0.5).tap) == TopK(64, 0.5)
    assert str(TopK(64, 1.0)) == "top 64 of the logits at T 1"
    assert TopK.of(OUTPUT) is TopK.of(Tap("", element=("logits",))) is None


def test_a_frozen_teacher_gives_it_alone_or_beside_the_rest() -> None:
    model = torch.nn.Linear(4, 9)
    top, inputs = TopK(2, 1.0), torch.randn(3, 4)
    given = FrozenTeacher(model)(inputs, [top.tap])
    assert list(given.values) == [top.tap]
    assert torch.equal(given.values[top.tap], top.pack(model(inputs)))
    assert set(FrozenTeacher(model)(inputs, [top.tap, OUTPUT]).values) == {top.tap, OUTPUT}


def test_another_temperature_is_refused(tmp_path: Path) -> None:
    soft = ll.Soft(temperature=2, topk=3, stored=True)
    objective = ll.Objective(hard=0, soft=soft, task=CausalLM())
    student, teacher = logits(2, 5, 40), logits(2, 5, 40)
    other = TopK(3, 1.0)
    with pytest.raises(
        ll.UsageError, match=r"needs the top 3 of the logits at T 2 and the teacher gives the top 3 .* T 1"
    ):
        objective(Activations(student), Activations(taps={other.tap: other.pack(teacher)}), None)
    with StoreWriter(tmp_path / "store", {"topk": 3, "temperature": 1.0}, rows=2, dtype="int32") as writer:
        writer.add(other.pack(teacher))
    with pytest.raises(ll.UsageError, match=r"temperature: expected 2.0; got 1.0"):
        TensorStore(tmp_path / "store", {"topk": 3, "temperature": 2.0})
    store = TensorStore(tmp_path / "store", {"topk": 3, "temperature": 1.0})
    assert torch.equal(store.read(torch.tensor([1, 0])), other.pack(teacher)[[1, 0]])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"topk": 0}, "topk must be a whole number >= 1"),
        ({"topk": 4, "form": "cross-entropy"}, "with form kl"),
        ({"stored": True}, "stored is of the topk of one teacher"),
    ],
)
def test_what_a_soft_loss_does_not_take(how: dict[str, object], told: str) -> None:
    with pytest.raises(ll.UsageError, match=told):
        ll.Soft(**how)
    with pytest.raises(ll.UsageError, match="topk is of outputs with a score a class; the task regression"):
        ll.Objective(soft=ll.Soft(topk=2), task=ll.Regression())


def test_a_live_teachers_likeliest_classes() -> None:
    objective = ll.Objective(hard=0, soft=ll.Soft(temperature=3, topk=4))
    student, teacher = logits(6, 20, seed=2), logits(6, 20)
    losses = objective(Activations(student), Activations(teacher), None)
    assert losses.terms["soft"].item() == pytest.approx(topk_kl(student, teacher, k=4, temperature=3.0).item())
