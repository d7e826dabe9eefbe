from __future__ import annotations

import pytest
import torch

from layerlink.adapters import AdapterError, fit


def test_a_sequence_becomes_the_map_row_by_row_without_its_class_token() -> None:
    inputs = torch.arange(7.0).view(1, 7, 1)
    found = fit((1, 7, 1), (1, 1, 2, 3))(inputs)
    assert found.tolist() == [[[[1, 2, 3], [4, 5, 6]]]]


def test_a_map_becomes_the_sequence_and_the_teachers_class_tokens_are_left_out() -> None:
    inputs = torch.arange(6.0).view(1, 1, 2, 3)
    adapter = fit((1, 1, 2, 3), (1, 8, 1))
    assert adapter(inputs).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert adapter.prepare(torch.arange(8.0).view(1, 8, 1)).flatten().tolist() == [2, 3, 4, 5, 6, 7]


def test_there_and_back_is_the_same_map() -> None:
    inputs = torch.randn(2, 3, 4, 4)
    there = fit((2, 3, 4, 4), (2, 16, 3))(inputs)
    assert torch.equal(fit((2, 16, 3), (2, 3, 4, 4))(there), inputs)


def test_a_sequence_of_another_length_is_interpolated_along_it() -> None:
    inputs = torch.tensor([0.0] * 10 + [1.0] * 10).view(1, 20, 1)
    found = fit((1, 20, 1), (1, 10, 1))(inputs).flatten()
    assert found.tolist() == [0.0] * 5 + [1.0] * 5


def test_a_number_of_tokens_that_is_no_map_is_told() -> None:
    with pytest.raises(AdapterError, match=r"^22 tokens are no map: neither 3x3 nor a square after up to 5 class"):
        fit((2, 22, 4), (2, 5, 3, 3))
