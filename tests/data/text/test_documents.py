"""Texts as sequences of tokens, beside what the tokenizer says of each text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from layerlink.data import SequenceSet, SequenceViews
from layerlink.data.text.documents import Documents, load_documents
from layerlink.data.text.tables import Wanted
from layerlink.data.text.tokens import Tokenizer
from layerlink.errors import LayerlinkError, UsageError
from tiny_llama import SPECIAL, WORDS, tables, texts, tokenizer

END = SPECIAL.index("<end>")
IDS = {word: n for n, word in enumerate((*SPECIAL, *WORDS))}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer(folder)
    return Tokenizer.load(str(folder))


def how(**changes: Any) -> Documents:
    return Documents(Wanted(("text",), None), **{"length": 8, **changes})


def tokens_of(text: str) -> list[int]:
    return [*(IDS[word] for word in text.split()), END]


def written(root: Path, name: str, rows: list[str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))


def test_texts_are_joined_each_with_its_end(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30, dev=8, test=8)
    source = load_documents(root, how(), own)
    assert source.validation is not None
    for part, count, seed in ((source.train, 30, 0), (source.validation, 8, 1), (source.test, 8, 2)):
        whole = [token for text in texts(count, seed) for token in tokens_of(text)]
        rows = len(whole) // 8
        assert isinstance(part, SequenceSet)
        assert part.labels.tolist() == [whole[8 * n : 8 * n + 8] for n in range(rows)]
        assert part.tokens.tolist() == whole[: 8 * rows]
        assert any(
            f"{len(whole):,} tokens in {rows:,} sequences, {len(whole) % 8} left over" in it for it in source.notes
        )


def test_the_second_time_comes_from_the_cache(own: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tables(tmp_path / "data", train=30, dev=8)
    first = load_documents(root, how(), own)
    monkeypatch.setattr(Tokenizer, "documents", lambda *_: pytest.fail("tokenised again"))
    again = load_documents(root, how(), own)
    assert torch.equal(first.train.labels, again.train.labels)
    assert first.notes == again.notes
    with pytest.raises(pytest.fail.Exception, match="tokenised again"):
        load_documents(root, how(length=9), own)


def test_what_is_kept_apart_are_whole_texts(own: Tokenizer, tmp_path: Path) -> None:
    rows = [f"the film was {word} and it was {word}" for word in WORDS] * 4
    rows = [f"{row} {other}" for row, other in zip(rows, [it for it in WORDS for _ in range(4)], strict=True)]
    written(tmp_path / "data", "train.jsonl", rows)
    source = load_documents(tmp_path / "data", how(length=64, packing=False, validation=10), own)
    assert source.validation is not None
    assert (len(source.test), len(source.validation), len(source.train)) == (12, 10, 42)
    parts = [{tuple(row) for row in part.labels.tolist()} for part in (source.train, source.validation, source.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 64


def test_each_text_a_sequence(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30, dev=8, test=8)
    source = load_documents(root, how(packing=False), own)
    views = SequenceViews(own.place, own.vocabulary, 8, own.padding, packing=False)
    longest = max(min(len(tokens_of(text)), 8) for text in texts(8, 2))
    batch = views(source.test.rows(slice(0, 8)))
    labels = views.labels(source.test.labels[:8])
    assert labels.shape == batch["input_ids"].shape == (8, longest)
    for row, text in enumerate(texts(8, 2)):
        expected = tokens_of(text)[:8]
        assert labels[row].tolist() == expected + [-100] * (longest - len(expected))
        assert batch["input_ids"][row, : len(expected)].tolist() == expected
        assert batch["attention_mask"][row].tolist() == [1] * len(expected) + [0] * (longest - len(expected))
    cut = sum(len(tokens_of(text)) > 8 for text in texts(30))
    assert any(note.startswith(f"{cut} of 30 train texts have more than 8 tokens") for note in source.notes)


def test_the_labels_of_a_batch_end_with_its_longest(own: Tokenizer) -> None:
    views = SequenceViews(own.place, own.vocabulary, 8, packing=False)
    labels = torch.tensor([[5, 2, -100, -100], [4, 6, 2, -100]])
    assert views.labels(labels).tolist() == [[5, 2, -100], [4, 6, 2]]


def test_empty_texts_are_left_out_and_counted(own: Tokenizer, tmp_path: Path) -> None:
    written(tmp_path / "data", "train.jsonl", [*texts(20), "", "  ", "\n"])
    source = load_documents(tmp_path / "data", how(), own)
    assert "3 of 23 train texts are empty, and are left out" in source.notes
    written(tmp_path / "other", "train.jsonl", ["", " "])
    with pytest.raises(LayerlinkError, match="every one of the 2 train texts is empty"):
        load_documents(tmp_path / "other", how(), own)


def test_parts_that_are_shorter_than_a_sequence(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30, dev=1, test=8)
    with pytest.raises(
        UsageError, match=r"the 1 validation texts have \d+ tokens in all, less than one sequence of 64"
    ):
        load_documents(root, how(length=64), own)


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    tokenizer(tmp_path / "tokenizer", end=None)
    root = tables(tmp_path / "data", train=30, dev=8)
    with pytest.raises(UsageError, match="has no token that ends a text"):
        load_documents(root, how(), Tokenizer.load(str(tmp_path / "tokenizer")))
