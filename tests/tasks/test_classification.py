from __future__ import annotations

import pytest
import torch

from layerlink.tasks.classification import answers, chance, confusion, count_correct, percent_equal

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
