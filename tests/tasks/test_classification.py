from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from layerlink.tasks.classification import (
    answers,
    calibration_error,
    chance,
    confusion,
    count_correct,
    judge,
    percent_equal,
)

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0], [0.0, 1.0, 5.0], [4.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 1, 1, 0])


def test_answers_are_the_largest_logits_and_three_of_four_are_right() -> None:
    assert answers(LOGITS).tolist() == [0, 1, 2, 0]
    assert float(count_correct(LOGITS, LABELS)) == 3
    assert percent_equal(answers(LOGITS), LABELS) == 75


def test_chance_is_the_share_of_the_commonest_class() -> None:
    share, spread = chance(torch.tensor([0] * 6 + [1] * 3 + [2]))
    assert share == 0.6
    assert spread == pytest.approx((0.6 * 0.4 / 10) ** 0.5)


def test_confusion_counts_pairs() -> None:
    assert confusion(LABELS, answers(LOGITS), 3).tolist() == [[2, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_every_answer_is_judged_by_its_likelihood_and_confidence() -> None:
    found = judge(LOGITS, LABELS)
    for row, logits, label in zip(found.tolist(), LOGITS.tolist(), LABELS.tolist(), strict=True):
        p = [math.exp(value) / sum(math.exp(other) for other in logits) for value in logits]
        assert row == pytest.approx([p.index(max(p)), -math.log(p[label]), max(p)], rel=1e-12)


def test_a_gap_of_ten_thousand_stays_finite_and_halves_are_judged_in_float64() -> None:
    sure = judge(torch.tensor([[1e4, 0.0], [0.0, 1e4]], dtype=torch.bfloat16), torch.tensor([0, 0]))
    assert sure.dtype == torch.float64
    assert sure[:, 1].tolist() == pytest.approx([0.0, 9984.0])  # bfloat16's nearest to 10,000
    assert sure[:, 2].tolist() == [1.0, 1.0]


def test_calibration_error_is_that_of_guo_counted_bin_by_bin() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.1, 1.0, 1000)
    right = draw.uniform(size=1000) < confidence**2
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.sum() / 1000 * abs(right[inside].mean() - confidence[inside].mean())
    found = calibration_error(torch.from_numpy(confidence), torch.from_numpy(right))
    assert found == pytest.approx(100 * expected, abs=1e-9)
    assert found > 10


def test_a_model_that_is_as_right_as_it_says_has_no_calibration_error() -> None:
    right = torch.tensor([True] * 3 + [False])
    assert calibration_error(torch.full((4,), 0.75), right) == 0
    assert calibration_error(torch.ones(4), right) == 25
