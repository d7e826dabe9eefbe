from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.design.shrink.fitting import NormalEquations, fit_collapsed
from layerlink.design.shrink.passes import run_pass
from layerlink.design.shrink.reducing import evenly, reduce_depth
from layerlink.design.shrink.runs import find_runs
from nets import images


def net(*, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 4, 3, padding=1, bias=bias), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 3)).eval()


def patches(given: Tensor) -> np.ndarray:
    """3x3 patches of maps padded by zeros, written out by loops: (positions, channels * 9)."""
    padded = np.pad(given.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = [
        padded[image, :, y : y + 3, x : x + 3].reshape(-1)
        for image in range(len(given))
        for y in range(given.shape[2])
        for x in range(given.shape[3])
    ]
    return np.stack(rows)


@pytest.mark.parametrize("bias", [True, False])
def test_a_collapsed_convolution_is_the_least_squares_fit(bias: bool) -> None:
    teacher, given = net(bias=bias), torch.randn(8, 4, 8, 8)
    reduced = reduce_depth(teacher, find_runs(teacher, run_pass(teacher, given)), [1])
    explained = fit_collapsed(teacher, reduced.collapsed, [given[:4], given[4:]])
    with torch.no_grad():
        wanted = teacher[2](teacher[1](teacher[0](given))).permute(0, 2, 3, 1).reshape(-1, 4).double().numpy()
    rows = patches(given.double())
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1) if bias else rows
    found, _, _, _ = np.linalg.lstsq(rows, wanted, rcond=None)
    layer = reduced.model[0]
    np.testing.assert_allclose(layer.weight.detach().numpy().reshape(4, -1), found[:36].T, atol=1e-4)
    if bias:
        np.testing.assert_allclose(layer.bias.detach().numpy(), found[36], atol=1e-4)
    error = wanted - rows @ found
    share = 1 - (error**2).sum() / ((wanted - wanted.mean(0)) ** 2).sum()
    assert explained == {"2": pytest.approx(share, abs=1e-4)}


def test_where_inputs_do_not_decide_the_smallest_weights_are_taken() -> None:
    given, wanted = torch.randn(5, 12, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    sums = NormalEquations(12, 2)
    sums.add(given, wanted)
    found = sums.solved(1e-9, constant=False)
    expected = torch.linalg.lstsq(given, wanted, driver="gelsd").solution
    torch.testing.assert_close(found[:12], expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(found[12], torch.zeros(2, dtype=torch.float64))


def test_layers_are_spread_evenly() -> None:
    assert [evenly(count, 12) for count in (1, 2, 4, 12)] == [[0], [0, 11], [0, 4, 7, 11], list(range(12))]


def test_a_fit_is_nearer_to_the_teacher_than_a_copy() -> None:
    teacher, given = net(), images(32, 8, 4)
    runs = find_runs(teacher, run_pass(teacher, given))
    copied, fitted = (reduce_depth(teacher, runs, [1]) for _ in range(2))
    fit_collapsed(teacher, fitted.collapsed, [given])
    with torch.no_grad():
        errors = [float((it.model[:2](given) - teacher[:4](given)).square().mean()) for it in (fitted, copied)]
    assert errors[0] < 0.5 * errors[1]


def test_layers_with_very_many_inputs_begin_as_a_copy_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlink.design.shrink.fitting.MOST_INPUTS", 20)
    torch.manual_seed(0)
    layers = [nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)]
    teacher = nn.Sequential(*layers)
    shrunk = ll.shrink(teacher, torch.randn(8, 24), collapse=True)
    assert shrunk.explained == {}
    assert torch.equal(shrunk.model.get_submodule("0").weight, teacher[0].weight)
    assert any("not fitted, since they have more than" in note for note in shrunk.notes)
