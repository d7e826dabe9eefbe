from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from hsic import hsic_cka
from layerlink.measure.cka import BatchedCKA, centred_gram, cka_of_grams, linear_cka, u_centred, unbiased_hsic


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "p", "q"), [(40, 6, 3), (8, 50, 70), (20, 20, 20), (12, 3, 200)])
def test_it_is_the_papers_ratio_of_hsic(n: int, p: int, q: int) -> None:
    x, y = noise(n, p), noise(n, q, seed=1) + noise(n, p)[:, :1]
    expected = hsic_cka(x.numpy(), y.numpy())
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-10)
    assert cka_of_grams(centred_gram(x), centred_gram(y)) == pytest.approx(expected, rel=1e-10)
    assert 0 < expected < 0.99


def test_the_helper_tells_a_wrong_cka() -> None:
    x, y = noise(30, 4) + 5, noise(30, 4, seed=1) + 5
    gram = cka_of_grams(x @ x.T, y @ y.T)  # not centred
    assert gram != pytest.approx(hsic_cka(x.numpy(), y.numpy()), rel=0.1)


def test_rotated_scaled_and_shifted_features_are_the_same() -> None:
    x = noise(64, 20)
    rotation, _ = torch.linalg.qr(noise(20, 20, seed=3))
    assert linear_cka(x, 7.5 * x @ rotation + 3) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, x @ torch.diag(torch.logspace(0, 2, 20, dtype=torch.float64))) < 0.9


def test_independent_features_are_unlike_and_few_images_flatter() -> None:
    many = linear_cka(noise(20_000, 5), noise(20_000, 5, seed=1))
    few = linear_cka(noise(8, 500), noise(8, 500, seed=1))
    assert many < 0.001
    assert few > 0.9


def test_both_routes_agree_also_from_bfloat16_and_for_images() -> None:
    x, y = noise(32, 4, 6, 6).bfloat16(), noise(32, 2, 3, 3, seed=2).bfloat16()
    x[:, 0] += y[:, :1, :1, :1].mean(dim=1)
    by_gram = cka_of_grams(centred_gram(x), centred_gram(y))
    a, b = (it.flatten(1).double() - it.flatten(1).double().mean(dim=0) for it in (x, y))
    by_features = float((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))
    assert by_gram == pytest.approx(by_features, rel=1e-12)
    assert linear_cka(x, y) == pytest.approx(by_features, rel=1e-12)


def test_features_wider_than_a_part_are_summed_whole() -> None:
    x = noise(6, 20_000)
    wide = x - x.mean(dim=0)
    torch.testing.assert_close(centred_gram(x), wide @ wide.T)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x = noise(16, 50).float()
    assert linear_cka(x, (x + 4096).float()) == pytest.approx(1, abs=1e-4)


def test_a_constant_layer_has_no_similarity() -> None:
    assert math.isnan(linear_cka(torch.zeros(8, 3), noise(8, 3)))


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^CKA needs the same images on both sides; got 4 and 5$"):
        linear_cka(noise(4, 2), noise(5, 2))


def hsic_by_definition(k: Tensor, m: Tensor) -> float:
    """Song et al. 2012, eq. 4: over all tuples of four different images."""
    tuples = list(itertools.permutations(range(len(k)), 4))
    return sum(float(k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])) for i, j, q, r in tuples) / len(tuples)


@pytest.mark.parametrize(("n", "p", "q"), [(4, 3, 2), (6, 2, 9), (7, 5, 5)])
def test_the_unbiased_hsic_is_its_definition_over_tuples(n: int, p: int, q: int) -> None:
    x, y = noise(n, p), noise(n, q, seed=1) + noise(n, p)[:, :1]
    k, m = x @ x.T, y @ y.T
    assert unbiased_hsic(k, m) == pytest.approx(hsic_by_definition(k, m), rel=1e-10)
    assert unbiased_hsic(centred_gram(x), centred_gram(y)) == pytest.approx(hsic_by_definition(k, m), rel=1e-9)


def test_rows_and_columns_of_a_u_centred_matrix_add_up_to_nothing() -> None:
    centred = u_centred(centred_gram(noise(9, 4)))
    torch.testing.assert_close(centred.sum(dim=0), torch.zeros(9, dtype=torch.float64))
    assert centred.diagonal().eq(0).all()


def test_independent_features_have_none_on_average_where_the_biased_value_is_large() -> None:
    draws = [(noise(8, 20, seed=2 * it), noise(8, 20, seed=2 * it + 1)) for it in range(400)]
    biased = sum(linear_cka(x, y) for x, y in draws) / len(draws)
    values = torch.tensor([unbiased_hsic(centred_gram(x), centred_gram(y)) for x, y in draws])
    assert biased > 0.6
    assert abs(float(values.mean())) < 4 * float(values.std()) / len(draws) ** 0.5
    batched = BatchedCKA()
    for x, y in draws:
        batched.add([centred_gram(x)], [centred_gram(y)])
    assert abs(float(batched.values())) < 0.05


def test_batches_average_numerator_and_denominators_apart() -> None:
    batched, terms = BatchedCKA(), []
    for seed in range(3):
        x, y = noise(6 + seed, 5, seed=seed), noise(6 + seed, 5, seed=seed) ** 2
        k, m = x @ x.T, y @ y.T
        batched.add([centred_gram(x), centred_gram(y)], [centred_gram(y)])
        terms.append([hsic_by_definition(a, b) for a, b in ((k, m), (k, k), (m, m))])
    across, first, second = (sum(column) / 3 for column in zip(*terms, strict=True))
    values = batched.values()
    assert float(values[0, 0]) == pytest.approx(across / math.sqrt(first * second), rel=1e-9)
    assert float(values[1, 0]) == pytest.approx(1, abs=1e-12)
    assert values.shape == (2, 1)


def test_with_many_images_both_estimates_agree() -> None:
    x = noise(2000, 6)
    y = x @ noise(6, 4, seed=7) + 0.5 * noise(2000, 4, seed=8)
    batched = BatchedCKA()
    batched.add([centred_gram(x)], [centred_gram(y)])
    assert float(batched.values()) == pytest.approx(linear_cka(x, y), abs=2e-3)


def test_a_constant_layer_has_no_batched_similarity_and_three_images_are_too_few() -> None:
    batched = BatchedCKA()
    with pytest.raises(ValueError, match=r"^no batch was counted in$"):
        batched.values()
    batched.add([centred_gram(torch.ones(5, 3))], [centred_gram(noise(5, 2))])
    assert batched.values().isnan().all()
    with pytest.raises(ValueError, match=r"^the unbiased HSIC needs at least 4 images; got 3$"):
        u_centred(torch.eye(3))
