"""Losses of maps by hand: what each is blind to, what its options do, what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses import (
    ShapeError,
    ab,
    at,
    batch_norm_margin,
    cat_kd,
    cwd,
    dkd,
    ft,
    ifvd,
    kd,
    l1,
    mse,
    nst,
    ofd,
    sdd,
    skds,
    smooth_l1,
)
from layerlink.losses.heads import frozen_logits, weight_of
from layerlink.losses.shapes import unit


def maps(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ONE, TWO = maps(0, 3, 4, 6, 6), maps(1, 3, 4, 6, 6)


@pytest.mark.parametrize(
    "loss", [at, ft, partial(ft, form="factor"), nst, skds], ids=["at", "ft", "factor", "nst", "skds"]
)
def test_the_scale_of_either_side_does_not_matter(loss: Callable[..., Tensor]) -> None:
    assert float(loss(3 * ONE, 0.1 * TWO)) == pytest.approx(float(loss(ONE, TWO)))


@pytest.mark.parametrize("loss", [at, ft, nst, skds], ids=["at", "ft", "nst", "skds"])
def test_the_order_of_channels_does_not_matter(loss: Callable[..., Tensor]) -> None:
    assert float(loss(ONE[:, [2, 0, 3, 1]], TWO)) == pytest.approx(float(loss(ONE, TWO)))
    assert float(loss(ONE[:, [2, 0, 3, 1]], ONE)) == pytest.approx(0, abs=1e-12)


def test_ft_of_the_squares_is_at() -> None:
    assert float(ft(ONE, TWO, p=2)) == pytest.approx(float(at(ONE, TWO)))


def test_cwd_sees_no_constant_of_a_channel_and_is_kd_over_positions() -> None:
    moved = ONE + maps(2, 3, 4, 1, 1)
    assert float(cwd(moved, ONE)) == pytest.approx(0, abs=1e-12)
    rows = [side.reshape(12, 36) for side in (ONE, TWO)]
    assert float(cwd(ONE, TWO)) == pytest.approx(float(kd(*rows, temperature=4.0)))


def test_smooth_l1_goes_from_squares_to_absolute_differences() -> None:
    assert float(smooth_l1(ONE, TWO, beta=100)) == pytest.approx(float(mse(ONE, TWO)) / 200)
    assert float(smooth_l1(ONE, TWO, beta=1e-9)) == pytest.approx(float(l1(ONE, TWO)))


def test_ab_is_0_where_signs_agree_by_the_margin() -> None:
    assert float(ab(ONE.sign() * (1 + ONE.abs()), ONE)) == 0
    assert float(ab(ONE, ONE)) > 0
    assert float(ab(torch.tensor([[0.0]]), torch.tensor([[5.0]]), margin=3, factor=1)) == 9
    assert float(ab(torch.tensor([[0.0]]), torch.tensor([[0.0]]), margin=3, factor=1)) == 9


def test_ofd_lets_a_silent_neuron_be_as_silent_as_it_likes() -> None:
    teacher = torch.tensor([[-1.0, 2.0], [-3.0, 2.0]])  # the first channel's margin is -2
    assert float(ofd(torch.tensor([[-1.0, 2.0], [-9.0, 2.0]]), teacher)) == 0
    assert float(ofd(torch.tensor([[-0.5, 2.0], [-1.0, 5.0]]), teacher)) == pytest.approx((0.25 + 1 + 9) / 2)
    assert float(ofd(torch.tensor([[-2.0, 2.0], [-3.0, 2.0]]), teacher, margin=torch.tensor([-0.5, 0.0]))) == 0
    with pytest.raises(ShapeError, match=r"ofd needs a margin \(2,\); got \(3,\)"):
        ofd(teacher, teacher, margin=torch.zeros(3))
    with pytest.raises(UsageError, match=r"ofd: margin must be a tensor \(C,\); got -1"):
        ofd(teacher, teacher, margin=-1)  # type: ignore[arg-type]


def test_the_margin_of_a_batch_norm_is_the_mean_below_0_of_gaussian_values() -> None:
    norm = nn.BatchNorm2d(4).double()
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([0.0, -1.0, 0.7, 9.0]))
        norm.weight.copy_(torch.tensor([1.0, 0.5, -2.0, 1.0]))
    drawn = np.random.default_rng(0).standard_normal(400_000)
    for margin, mean, sd in zip(batch_norm_margin(norm)[:3].tolist(), (0.0, -1.0, 0.7), (1.0, 0.5, 2.0), strict=True):
        values = mean + sd * drawn
        assert margin == pytest.approx(values[values < 0].mean(), rel=0.01)
    assert float(batch_norm_margin(norm)[3]) == -3
    with pytest.raises(UsageError, match="batch_norm_margin needs a batch norm with weight and bias; got ReLU"):
        batch_norm_margin(nn.ReLU())


def test_ifvd_asks_only_which_labels_are_equal() -> None:
    labels = torch.randint(3, (3, 12, 12), generator=torch.Generator().manual_seed(3))
    found = float(ifvd(ONE, TWO, labels=labels))
    assert float(ifvd(ONE, TWO, labels=labels * 7 - 100)) == pytest.approx(found)
    ignored = labels.clone()
    ignored[0] = 255
    assert float(ifvd(ONE, TWO, labels=ignored)) == pytest.approx(
        2 / 3 * float(ifvd(ONE[1:], TWO[1:], labels=labels[1:]))
    )
    assert float(ifvd(ONE, TWO, labels=torch.full((3, 2, 2), 255))) == 0
    assert float(ifvd(ONE, TWO, labels=torch.arange(3))) == pytest.approx(
        float(ifvd(ONE, TWO, labels=torch.zeros(3, 6, 6).long()))
    )
    for wrong in (labels[:2], labels.float(), labels[0], labels[:, :0]):
        with pytest.raises(ShapeError, match=r"ifvd needs int64 labels \(3, H, W\)"):
            ifvd(ONE, TWO, labels=wrong)
    with pytest.raises(ShapeError, match="ifvd needs maps of the same positions"):
        ifvd(ONE, TWO[:, :, :3], labels=labels)


def test_skds_counts_regions() -> None:
    whole = skds(ONE, TWO, scale=1.0)  # one region is like itself
    assert float(whole) == pytest.approx(0, abs=1e-15)
    assert float(skds(ONE, maps(4, 3, 4, 8, 8))) > 0
    with pytest.raises(ShapeError, match=r"skds needs as many regions on both sides; student gives \(2, 2\)"):
        skds(ONE, maps(4, 3, 4, 5, 5))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (partial(ft, form="whole"), "ft: form must be 'attention' or 'factor'; got 'whole'"),
        (partial(ft, p=0.5), "ft: p must be >= 1; got 0.5"),
        (partial(nst, kernel="rbf"), "nst: kernel must be 'polynomial' or 'linear'; got 'rbf'"),
        (partial(ab, margin=0), "ab: margin and factor must be > 0; got 0 and 0.003"),
        (partial(smooth_l1, beta=0), "smooth_l1: beta must be > 0; got 0"),
        (partial(cwd, temperature=-1), "cwd: temperature must be > 0; got -1"),
        (partial(skds, scale=2), r"skds: scale must lie in 0\.\.1; got 2"),
        (partial(skds, pool="min"), "skds: pool must be 'max' or 'average'; got 'min'"),
        (partial(cat_kd, student_head=None, teacher_head=None, resolution=0), "cat_kd: resolution must be >= 1; got 0"),
    ],
)
def test_an_impossible_option_is_answered(loss: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loss(ONE, TWO)


def test_ft_of_whole_maps_needs_one_shape() -> None:
    with pytest.raises(ShapeError, match="ft needs equal shapes"):
        ft(ONE, maps(4, 3, 5, 6, 6), form="factor")


def test_sdd_of_the_whole_map_is_its_host_and_teaches_the_students_classifier() -> None:
    torch.manual_seed(0)
    teacher, labels = maps(2, len(ONE), 5, 2, 2), torch.zeros(len(ONE), dtype=torch.int64)
    own, other = nn.Linear(ONE.shape[1], 7).double(), nn.Linear(5, 7).double()
    logits = own(ONE.mean((2, 3))), other(teacher.mean((2, 3)))
    heads = {"labels": labels, "student_head": own, "teacher_head": other}
    loss = sdd(ONE, teacher, **heads, scales=(1,))
    assert float(loss.detach()) == pytest.approx(float(kd(*logits, temperature=4.0).detach()), rel=1e-5)
    found = sdd(ONE, teacher, **heads, scales=(1,), host="dkd", beta=6.0)
    assert float(found.detach()) == pytest.approx(float(dkd(*logits, labels=labels, beta=6.0).detach()), rel=1e-5)
    loss.backward()
    assert own.weight.grad is not None
    assert other.weight.grad is None
    with pytest.raises(UsageError, match=r"host is kd, dkd or nkd, scales a list of numbers >= 1; got 'kd', \(0,\)"):
        sdd(ONE, teacher, **heads, scales=(0,))
    with pytest.raises(ShapeError, match="sdd needs maps of the classifier's 5 features"):
        sdd(ONE, teacher, labels=labels, student_head=other, teacher_head=other)


def test_cat_kd_at_one_position_is_the_logits_distance_and_teaches_the_students_classifier() -> None:
    own, other = nn.Linear(4, 7, bias=False).double(), nn.Linear(5, 7, bias=False).double()
    teacher = maps(4, 3, 5, 3, 3)
    loss = cat_kd(ONE, teacher, student_head=own, teacher_head=nn.Sequential(nn.Flatten(), other), resolution=1)
    logits = [layer(side.mean((2, 3))) for layer, side in ((own, ONE), (other, teacher))]
    assert float(loss.detach()) == pytest.approx(float(mse(*logits).detach()))
    loss.backward()
    assert own.weight.grad is not None
    assert other.weight.grad is None
    with pytest.raises(ShapeError, match="cat_kd needs classifiers of the same classes; got 7 and 6"):
        cat_kd(ONE, teacher, student_head=own, teacher_head=nn.Linear(5, 6))
    with pytest.raises(ShapeError, match="cat_kd needs maps of the classifier's 5 features"):
        cat_kd(ONE, teacher, student_head=other, teacher_head=other)


def test_a_classifier_is_one_linear_layer_or_convolution() -> None:
    assert weight_of("x", nn.Conv2d(4, 7, 1)).shape == (7, 4)
    for wrong in (nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 7)), nn.Conv2d(4, 7, 3)):
        with pytest.raises(UsageError, match=r"x needs a classifier that is one nn\.Linear, or one 1x1 nn\.Conv2d"):
            weight_of("x", wrong)


def test_a_frozen_classifier_hands_gradients_to_features_alone() -> None:
    head = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 7)).eval()
    features = maps(0, 3, 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        logits = frozen_logits("x", head, features)
    assert logits.dtype == torch.float64
    assert torch.allclose(logits.float(), head(features.float()), atol=1e-6)
    logits.sum().backward()
    assert features.grad is not None
    assert all(parameter.grad is None for parameter in head.parameters())
    with pytest.raises(ShapeError, match=r"x needs the features that the classifier takes, \(N, 9\); got \(3, 4\)"):
        frozen_logits("x", nn.Linear(9, 2), features)


@pytest.mark.parametrize("length", [0.0, 1e-13, 1e-9, 1.0, 1e15])
def test_unit_vectors_have_length_1_and_nothing_has_no_gradient(length: float) -> None:
    values = torch.tensor([[3.0 * length, 4.0 * length]], requires_grad=True)
    found = unit(values, 1)
    (gradient,) = torch.autograd.grad(found[0, 0], values)
    if length > 1e-12:
        assert found.tolist()[0] == pytest.approx([0.6, 0.8])
        assert math.hypot(*gradient.tolist()[0]) == pytest.approx(0.8 / 5 / length, rel=1e-4)
    else:
        assert not found.any()
        assert not gradient.any()
