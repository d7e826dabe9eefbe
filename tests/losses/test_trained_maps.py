"""Losses of maps that train something: what they train, what is drawn, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses import AFD, LOSSES, MGD, NORM, SRRL, VKD, ShapeError, SimKD, at, mse
from layerlink.losses.trained.layers import BatchNorm
from layerlink.transfer import Distiller

OWN, OTHER = (4, 3, 8, 8), (4, 5, 4, 4)


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(OWN, generator=generator), torch.randn(OTHER, generator=generator)


def network(width: int) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(), nn.Flatten(1),
        nn.Linear(32 * width, 4),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("link", "trained"),
    [
        ("2 -> 2 : mgd", {"align", "generate"}),
        ("2 -> 2 : mgd, adapter=conv1x1", {"generate"}),
        ("2 -> 2 : norm(repeats=2)", {"expand"}),
        ("2 -> 2 : vkd", {"turn"}),
        ("@output : vkd", {"turn"}),
        ("2 -> 2 : simkd", {"projector"}),
        ("2 -> 2 : factor", {"paraphraser", "decoder", "translator"}),
        ("2 -> 0 + 2 : afd(dim=8) * 200", {"keys", "queries", "between", "student_places", "teacher_places"}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*counts in full at every step")
def test_what_a_loss_trains_is_the_distillers_and_not_the_students(link: str, trained: set[str]) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 4
    teacher, student = network(5), network(3)
    names = student.state_dict().keys()
    distiller = Distiller(teacher, student, links=[link], example=images[:2])
    own = {name: value for name, value in distiller.named_parameters() if name.startswith("parts.0.loss.")}
    assert {name.split(".")[3] for name in own} == trained
    assert {id(value) for value in own.values()} <= {id(value) for value in distiller.trainable_parameters()}
    before = {name: value.detach().clone() for name, value in own.items()}
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        distiller(images, labels).total.backward()
        optimizer.step()
    still = {name.removeprefix("parts.0.loss.") for name, value in own.items() if torch.equal(value, before[name])}
    assert still <= {"between.1.bias"}  # the same for all layers of the student: a softmax over them does not see it
    assert all(value.grad is None for value in teacher.parameters())
    assert student.state_dict().keys() == names


@pytest.mark.parametrize("make", [MGD, NORM, SimKD, VKD], ids=lambda make: make.__name__)
def test_it_learns_a_teacher_that_can_be_told_from_the_student(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    loss, mix = make((2, 6, 4, 4), (2, 5, 4, 4)), torch.randn(5, 6)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.01)
    found = []
    for _ in range(150):
        student = torch.randn(16, 6, 4, 4)
        optimizer.zero_grad()
        value = loss(student, torch.einsum("ds,nshw->ndhw", mix, student).relu())
        value.backward()
        optimizer.step()
        found.append(float(value.detach()))
    assert sum(found[-10:]) < 0.7 * sum(found[:10])


@pytest.mark.parametrize(("where", "size"), [("channels", (4, 5, 1, 1)), ("positions", (4, 1, 4, 4))])
def test_mgd_drops_what_is_drawn_and_in_evaluation_nothing(where: Any, size: tuple[int, ...]) -> None:
    loss = MGD(OWN, OTHER, ratio=0.4, where=where)
    student, teacher = pair()
    aligned = loss.align(F.adaptive_avg_pool2d(student, 4))
    torch.manual_seed(3)
    kept = torch.rand(size) >= 0.4
    torch.manual_seed(3)
    expected = (loss.generate(aligned * kept) - teacher).square().sum() / 4
    assert float(loss(student, teacher).detach()) == pytest.approx(float(expected.detach()))
    expected = (loss.generate(aligned) - teacher).square().sum() / 4
    assert float(loss.eval()(student, teacher).detach()) == pytest.approx(float(expected.detach()))
    torch.manual_seed(0)
    ones = torch.ones(200, 50, 1, 1) if where == "channels" else torch.ones(20, 1, 25, 20)
    assert float(loss.train()._masked(ones).mean()) == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize(("own", "other"), [(6, 9), (9, 6), (7, 7)])
def test_vkds_projection_is_orthogonal_and_stays_so(own: int, other: int) -> None:
    torch.manual_seed(0)
    loss = VKD((2, own), (2, other)).double()
    with torch.no_grad():
        loss.turn.copy_(torch.randn_like(loss.turn))
    projection = loss.projection().detach()
    assert projection.shape == (other, own)
    least = min(own, other)
    gram = projection @ projection.T if other <= own else projection.T @ projection
    assert torch.allclose(gram, torch.eye(least, dtype=torch.float64), atol=1e-6)
    values, vectors = torch.linalg.eigh(1j * (loss.turn - loss.turn.T).detach())
    whole = ((vectors * (-1j * values).exp()) @ vectors.mH).real @ loss.start
    assert torch.allclose(projection, whole[:other, :own])
    if own <= other:  # no student can be made longer or shorter
        student = torch.randn(5, own, dtype=torch.float64)
        assert torch.allclose((student @ projection.T).norm(dim=1), student.norm(dim=1), rtol=1e-6)


def test_vkd_of_weights_in_16_bits_turns_in_32() -> None:
    loss = VKD((2, 6), (2, 9)).bfloat16()
    value = loss(torch.randn(4, 6).bfloat16(), torch.randn(4, 9).bfloat16())
    value.backward()
    assert value.dtype == torch.float32
    assert loss.turn.grad is not None
    assert bool(loss.turn.grad.any())


def test_srrl_reads_features_with_the_teachers_classifier_and_leaves_it_alone() -> None:
    torch.manual_seed(0)
    loss, head = SRRL(OWN, OTHER), nn.Linear(5, 7)
    student, teacher = pair()
    student.requires_grad_()
    value = loss(student, teacher, teacher_head=head)
    own, other = loss.regressor(student).mean((2, 3)), teacher.mean((2, 3))
    expected = mse(own, other) + mse(head(own), head(other))
    assert float(value.detach()) == pytest.approx(float(expected.detach()))
    value.backward()
    assert student.grad is not None
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert all(parameter.grad is None for parameter in head.parameters())
    assert all(parameter.requires_grad for parameter in head.parameters())
    with pytest.raises(ShapeError, match="srrl needs the features that the classifier takes"):
        loss(student, teacher, teacher_head=nn.Linear(6, 7))


def test_simkd_keeps_a_projector_to_the_teachers_map() -> None:
    loss = SimKD((2, 16, 4, 4), (2, 32, 4, 4), factor=4).eval()
    student = torch.randn(2, 16, 4, 4)
    assert loss.projector(student).shape == (2, 32, 4, 4)
    assert float(loss(student, loss.projector(student).detach()).detach()) == 0
    weights = sum(value.numel() for name, value in loss.named_parameters() if value.ndim == 4)
    assert weights == 16 * 32 // 4 + 9 * (32 // 4) ** 2 + 32**2 // 4


def test_afd_with_one_layer_a_side_is_at() -> None:
    loss = AFD([OWN], [OTHER], dim=4)
    student, _ = pair()
    teacher = torch.randn(4, 5, 8, 8)
    assert float(loss((student,), (teacher,)).detach()) == pytest.approx(float(at(student, teacher)))


def test_afd_finds_the_layer_that_is_like_the_teachers() -> None:
    torch.manual_seed(0)
    loss = AFD([(2, 3, 4, 4)] * 3, [(2, 3, 4, 4)] * 2, dim=8)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    for _ in range(100):
        student = tuple(torch.randn(32, 3, 4, 4) for _ in range(3))
        teacher = (student[2] * 2, student[0])
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    alpha = loss.attention(student, teacher).detach()
    assert torch.allclose(alpha.sum(2), torch.ones(32, 2))
    assert alpha.mean(0).argmax(1).tolist() == [2, 0]
    assert float(alpha.mean(0).max(1).values.min()) > 0.6


@pytest.mark.parametrize("name", ["norm", "srrl", "simkd"])
def test_one_image_of_one_position_goes_by_running_statistics(name: str) -> None:
    loss = LOSSES[name].make((2, 3, 1, 1), (2, 5, 1, 1))
    head = {"teacher_head": nn.Linear(5, 4)} if name == "srrl" else {}
    student = torch.randn(1, 3, 1, 1, requires_grad=True)
    value = loss(student, torch.randn(1, 5, 1, 1), **head)
    value.backward()
    assert bool(value.isfinite())
    assert student.grad is not None
    norms = [layer for layer in loss.modules() if isinstance(layer, BatchNorm)]
    assert norms
    assert all(not layer.running_mean.any() for layer in norms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MGD(OWN, OTHER, ratio=1.0), "mgd: ratio must be 0 <= r < 1"),
        (lambda: MGD(OWN, OTHER, where="rows"), "'rows'"),  # type: ignore[arg-type]
        (lambda: MGD(OWN, (4, 5)), r"mgd needs maps \(N, C, H, W\)"),
        (lambda: NORM(OWN, OTHER, repeats=0), "norm: repeats must be >= 1; got 0"),
        (lambda: NORM(OWN, (4, 5)), r"norm needs maps \(N, C, H, W\)"),
        (lambda: SimKD(OWN, OTHER, factor=0), "simkd: factor must be >= 1; got 0"),
        (lambda: SimKD((4, 5), OTHER), r"simkd needs maps \(N, C, H, W\)"),
        (lambda: SRRL(OWN, OTHER, regression=-1.0), "srrl: regression must be >= 0; got -1"),
        (lambda: SRRL(OWN, (4, 5, 6)), r"srrl needs \(N, C, H, W\) or \(N, C\)"),
        (lambda: VKD(OWN, (4, 5)), r"vkd needs \(N, C\), \(N, L, C\) or \(N, C, H, W\)"),
        (lambda: VKD(OWN, OTHER)(*pair()), "vkd needs 3 and 5 channels at the same positions"),
        (lambda: AFD([], [OTHER]), r"afd needs maps \(N, C, H, W\) on both sides"),
        (lambda: AFD([OWN], [OTHER], dim=0), "afd: dim must be >= 1; got 0"),
        (lambda: AFD([OWN], [OTHER])((pair()[0],) * 2, (pair()[1],)), "afd was made for 1 layers of the student and 1"),
    ],
)
def test_what_cannot_be_is_answered(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
