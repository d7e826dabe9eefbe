from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from layerlink.data.text import folder as folder_module
from layerlink.data.text.load import Texts, load_texts
from layerlink.data.text.tables import Wanted
from layerlink.data.text.tokens import Tokenizer
from layerlink.errors import LayerlinkError, UsageError
from tiny_bert import SPECIAL, WORDS, tables, tokenizer

HOW = Texts(Wanted((0,), 1), ("bad", "good"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer(folder)
    return Tokenizer.load(str(folder))


def lines(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))


def ids(text: str) -> list[int]:
    """By hand: whole words between [CLS] and [SEP]."""
    return [2, *(len(SPECIAL) + WORDS.index(word) for word in text.split()), 3]


def test_files_are_used_for_what_they_are_called(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30, dev=8, test=10, extra=2)
    source = load_texts(root, HOW, own)
    assert source.validation is not None
    assert [len(it) for it in (source.train, source.validation, source.test)] == [30, 8, 10]
    assert source.warnings == ("extra.tsv is not read",)
    first = (root / "train.tsv").read_text().splitlines()[0].split("\t")
    assert source.train.rows(slice(0, 1)).tokens.tolist() == ids(first[0])
    assert source.train.classes == ("bad", "good")


def test_the_second_time_comes_from_the_cache(own: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tables(tmp_path / "data", train=30, dev=8)
    first = load_texts(root, HOW, own)
    monkeypatch.setattr(folder_module, "read_table", lambda *_: pytest.fail("read again"))
    again = load_texts(root, HOW, own)
    assert again.train.checksum == first.train.checksum
    assert again.notes == first.notes
    assert any("kept apart as the test" in note for note in again.notes)
    with pytest.raises(pytest.fail.Exception):  # shorter texts are others
        load_texts(root, Texts(HOW.wanted, HOW.classes, 8), own)


def test_tokenizers_of_one_vocabulary_share_nothing_where_their_rules_differ(own: Tokenizer, tmp_path: Path) -> None:

    root = tables(tmp_path / "data", train=30, dev=8)
    (root / "train.tsv").write_text("the film is good\t1\na story is bad\t0\n" * 5)
    short = Texts(HOW.wanted, HOW.classes, 4)
    first = load_texts(root, short, own).train.rows(slice(0, 1)).tokens.tolist()
    other = copy.deepcopy(own)
    other.own.truncation_side = "left"
    assert other.vocabulary == own.vocabulary
    second = load_texts(root, short, other).train.rows(slice(0, 1)).tokens.tolist()
    assert first != second
    assert len({str(it.rules) for it in (own, other)}) == 2
    for name, value in (("eos_token", "[SEP]"), ("model_input_names", ["input_ids", "attention_mask"])):
        changed = copy.deepcopy(own)
        setattr(changed.own, name, value)
        assert changed.vocabulary == own.vocabulary
        assert changed.rules != own.rules, name


def test_a_test_file_without_labels_is_not_read(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30)
    (root / "test.tsv").write_text("the film\t-1\na story\t-1\n")
    source = load_texts(root, HOW, own)
    assert len(source.test) == 6
    assert "test.tsv has no labels and is not read" in source.notes


def test_texts_without_labels_are_counted_and_the_first_is_told(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30)
    (root / "train.tsv").write_text("good\t1\nbad\t\nfine\t1\nfine\t\n")
    with pytest.raises(LayerlinkError, match=r"train.tsv: 2 of 4 train texts have no label, the first at line 2"):
        load_texts(root, HOW, own)


def test_two_columns_are_one_text_with_segments(own: Tokenizer, tmp_path: Path) -> None:
    rows = [{"a": "the film is", "b": "bad", "label": "no"}, {"a": "good", "b": "a story", "label": "yes"}] * 5
    lines(tmp_path / "data" / "train.jsonl", *rows)
    source = load_texts(tmp_path / "data", Texts(Wanted(("a", "b"), "label")), own)
    place = source.train.labels.tolist().index(1)
    text = source.train.rows(torch.tensor([place]))
    assert source.train.classes == ("no", "yes")
    assert text.tokens.tolist() == [*ids("good"), *ids("a story")[1:]]
    assert text.segments.tolist() == [0, 0, 0, 1, 1, 1]


def test_long_texts_are_cut_and_told(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30, dev=8, test=8)
    source = load_texts(root, Texts(HOW.wanted, HOW.classes, 6), own)
    assert int(source.train.lengths.max()) == 6
    long = sum(len(line.split("\t")[0].split()) >= 4 for line in (root / "train.tsv").read_text().splitlines())
    assert f"{long} of 30 train texts have 6 tokens or more, and are cut there (data.texts.max_length)" in source.notes


@pytest.mark.parametrize(
    ("labels", "named", "told"),
    [
        (["0", "2"], ("a", "b"), "names 2 classes, the labels 0 to 1; the training texts also have the label 2"),
        (["yes", "noo"], ("yes", "no"), "lacks the label noo of the training texts.*Is noo the same as no?"),
        (["x", "y"], ("x", "x"), "a name stands twice"),
    ],
)
def test_names_and_labels_that_are_not_the_same(
    labels: list[str], named: tuple[str, ...], told: str, own: Tokenizer, tmp_path: Path
) -> None:
    lines(tmp_path / "data" / "train.jsonl", *({"text": "good", "label": label} for label in labels * 5))
    with pytest.raises(UsageError, match=told):
        load_texts(tmp_path / "data", Texts(Wanted(("text",), "label"), named), own)


def test_classes_are_in_the_order_of_their_numbers(own: Tokenizer, tmp_path: Path) -> None:
    lines(tmp_path / "data" / "train.jsonl", *({"text": "good", "label": label} for label in [10, 2, 1] * 5))
    source = load_texts(tmp_path / "data", Texts(Wanted(("text",), "label")), own)
    assert source.train.classes == ("1", "2", "10")
    assert set(source.train.labels.tolist()) == {0, 1, 2}


def test_places_among_names_of_the_hub_that_are_numbers_are_places(own: Tokenizer, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra text brings it")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra text brings it")
    said = json.dumps({"info": {"features": {"label": {"names": ["0", "1", "10", "2"]}}}})
    table = arrow.table({"text": ["a film"] * 10, "label": [0, 1, 2, 2, 1] * 2})
    (tmp_path / "data").mkdir()
    parquet.write_table(table.replace_schema_metadata({"huggingface": said}), tmp_path / "data" / "train.parquet")
    source = load_texts(tmp_path / "data", Texts(Wanted(("text",), "label"), None), own)
    assert source.train.classes == ("0", "1", "10", "2")
    assert set(torch.cat((source.train.labels, source.test.labels)).tolist()) == {0, 1, 2}


def test_a_label_that_no_training_text_has(own: Tokenizer, tmp_path: Path) -> None:
    lines(tmp_path / "data" / "train.jsonl", *({"text": "good", "label": label} for label in ["a", "b"]))
    lines(tmp_path / "data" / "dev.jsonl", {"text": "good", "label": "c"})
    with pytest.raises(LayerlinkError, match=r"dev.jsonl, line 1: the label 'c' is none of the 2 classes"):
        load_texts(tmp_path / "data", Texts(Wanted(("text",), "label")), own)


def test_a_teacher_of_other_tokens_is_refused(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", train=30)
    for name, words in (("more", (*WORDS, "new")), ("other", tuple(reversed(WORDS)))):
        tokenizer(tmp_path / name, words)
        other = Tokenizer.load(str(tmp_path / name))
        with pytest.raises(UsageError, match=r"the teacher's tokenizer .* is not the student's .*other tokens"):
            load_texts(root, HOW, own, teachers=[other])
    tokenizer(tmp_path / "same")
    load_texts(root, HOW, own, teachers=[Tokenizer.load(str(tmp_path / "same"))])


def test_what_is_no_folder_of_texts(own: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="text needs root"):
        load_texts(None, HOW, own)
    with pytest.raises(UsageError, match="is no folder"):
        load_texts(tmp_path / "nothing", HOW, own)
    tables(tmp_path / "data", dev=4, other=4)
    with pytest.raises(UsageError, match=r"holds no file to train on, but dev.tsv, other.tsv"):
        load_texts(tmp_path / "data", HOW, own)
    tables(tmp_path / "both", train=4, training=4)
    with pytest.raises(UsageError, match=r"train.tsv and training.tsv, which could be the same part"):
        load_texts(tmp_path / "both", HOW, own)


def test_shards_in_a_folder_data_as_the_hub_has_them(own: Tokenizer, tmp_path: Path) -> None:
    root = tables(tmp_path / "data", **{"train-00000-of-00002": 6, "train-00001-of-00002": 5})
    assert len(load_texts(tmp_path, HOW, own).train) == 11 - 2
    (root / "train-00001-of-00002.tsv").unlink()
    with pytest.raises(UsageError, match=r"1 shards.*all of one cutting"):
        load_texts(tmp_path, HOW, own)


def test_a_folder_that_datasets_saved(own: Tokenizer, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra text brings it")
    names = datasets.ClassLabel(names=["neg", "pos"])
    split = datasets.Dataset.from_dict(
        {"sentence": ["good", "bad film", "fine"], "label": [1, 0, 1]},
        features=datasets.Features({"sentence": datasets.Value("string"), "label": names}),
    )
    datasets.DatasetDict({"train": split, "validation": split, "test": split}).save_to_disk(tmp_path / "saved")
    source = load_texts(tmp_path / "saved", Texts(Wanted(("sentence",), "label")), own)
    assert source.train.classes == ("neg", "pos")
    assert source.train.labels.tolist() == [1, 0, 1]
    assert source.train.rows(slice(1, 2)).tokens.tolist() == ids("bad film")
    with pytest.raises(UsageError, match=r"unknown column 'sentense'. Did you mean sentence\?"):
        load_texts(tmp_path / "saved", Texts(Wanted(("sentense",), "label")), own)


def test_a_tokenizer_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"tokenizer .*: the folder holds none that can be read"):
        Tokenizer.load(str(tmp_path))
