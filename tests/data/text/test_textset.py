from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data import Batches, TextSet, TextViews
from layerlink.errors import LayerlinkError

VIEWS = TextViews("t", "v", 16, padding=9)
lengths_of_texts = st.lists(st.integers(1, 12), min_size=1, max_size=60)


def texts(lengths: list[int], *, segments: bool = False) -> TextSet:
    """Text n is n, n + 1, n + 2, ..."""
    rows = [torch.arange(n, n + length, dtype=torch.int32) for n, length in enumerate(lengths)]
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
    kinds = torch.cat([torch.arange(len(row)) >= len(row) // 2 for row in rows]).to(torch.uint8) if segments else None
    return TextSet(torch.cat(rows), starts, torch.arange(len(lengths)) % 2, ("a", "b"), kinds)


@given(lengths_of_texts, st.data())
def test_rows_are_those_texts_padded_to_their_longest(lengths: list[int], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
    inputs = VIEWS(texts(lengths, segments=True).rows(torch.tensor(places)))
    longest = max(lengths[place] for place in places)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert inputs[name].shape == (len(places), longest)
        assert inputs[name].dtype == torch.int64
    for row, place in enumerate(places):
        length = lengths[place]
        rest = longest - length
        assert inputs["input_ids"][row].tolist() == [*range(place, place + length), *[9] * rest]
        assert inputs["attention_mask"][row].tolist() == [1] * length + [0] * rest
        kinds = [0] * (length // 2) + [1] * (length - length // 2)
        assert inputs["token_type_ids"][row].tolist() == kinds + [0] * rest


@given(lengths_of_texts, st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_is_every_text_once_in_batches_that_follow_from_seed_and_epoch(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = Batches(texts(lengths), VIEWS, batch_size, seed)
    given = list(batches.epoch(epoch))
    assert len(given) == len(batches)
    assert sorted(torch.cat([batch.indices for batch in given]).tolist()) == list(range(len(lengths)))
    for step in range(len(given)):  # going on inside the epoch
        first = next(batches.epoch(epoch, step))
        assert torch.equal(first.indices, given[step].indices)
        assert torch.equal(first.images["input_ids"], given[step].images["input_ids"])  # type: ignore[call-overload, index]


def test_batches_hold_texts_that_are_about_as_long() -> None:
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 64, (4000,), generator=draw).tolist()
    batches = Batches(texts(lengths), VIEWS, 32)
    given = [batch.images["attention_mask"] for batch in batches.epoch(0)]  # type: ignore[call-overload, index]
    padded = sum(mask.numel() for mask in given) / sum(lengths)
    assert padded < 1.05  # in random order it is 1.8
    orders = [torch.cat([batch.indices for batch in batches.epoch(epoch)]) for epoch in (0, 1)]
    assert not torch.equal(*orders)
    longest = torch.tensor([mask.shape[1] for mask in given]).double()
    rising = torch.corrcoef(torch.stack([longest, torch.arange(len(longest)).double()]))[0, 1]
    assert abs(float(rising)) < 0.4  # long batches are not all at one end


def test_parts_of_processes_are_the_whole_batch() -> None:
    whole = Batches(texts([3, 5, 2, 7, 4, 1, 6]), VIEWS, 4, seed=2)
    halves = [list(Batches(whole.images, VIEWS, 4, 2, part=(place, 2)).epoch(0)) for place in range(2)]
    for batch, left, right in zip(whole.epoch(0), *halves, strict=True):
        assert torch.equal(batch.indices, torch.cat([left.indices, right.indices]))


@given(lengths_of_texts, st.data())
def test_a_selection_of_a_selection(lengths: list[int], data: st.DataObject) -> None:
    whole = texts(lengths)
    places = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9)))
    part = whole.select(places)
    assert part.digests() == [whole.digests()[place] for place in places]
    assert torch.equal(part.labels, whole.labels[places])
    assert part.select(slice(0, 1)).tokens.tolist() == whole.select(places[:1]).tokens.tolist()


def test_the_checksum_knows_where_texts_end() -> None:
    one, other = texts([2, 3]), texts([2, 3])
    assert one.checksum == other.checksum
    moved = TextSet(one.tokens, torch.tensor([0, 3, 5]), one.labels, one.classes)
    assert moved.checksum != one.checksum
    assert one.relabelled(torch.tensor([1, 1])).checksum != one.checksum


@pytest.mark.parametrize("starts", [[0, 2, 2, 5], [1, 5], [0, 4], []])
def test_texts_that_do_not_follow_each_other(starts: list[int]) -> None:
    count = max(len(starts) - 1, 0)
    with pytest.raises(LayerlinkError):
        TextSet(torch.arange(5), torch.tensor(starts, dtype=torch.int64), torch.zeros(count, dtype=torch.int64), ("a",))
