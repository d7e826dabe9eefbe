"""Tables written by Python's own csv and json and by pyarrow are read back, whatever texts they hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data.text.tables import Table, Wanted, read_table
from layerlink.errors import LayerlinkError, UsageError

NAMED = Wanted(("sentence", "other"), "label")
Row = tuple[str, str, int]


def write_csv(path: Path, rows: list[Row]) -> Path:
    file = path / "train.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("idx", "other", "label", "sentence"), *((0, b, c, a) for a, b, c in rows)])
    return file


def write_tsv(path: Path, rows: list[Row]) -> Path:
    file = path / "train.tsv"
    lines = ["\t".join(("other", "label", "sentence")), *("\t".join((b, str(c), a)) for a, b, c in rows)]
    file.write_bytes("\r\n".join(lines).encode())
    return file


def write_json(path: Path, rows: list[Row]) -> Path:
    file = path / "train.jsonl"
    lines = [
        json.dumps({"sentence": a, "x": None, "other": b, "label": c}, ensure_ascii=c % 2 == 0) for a, b, c in rows
    ]
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


def write_parquet(path: Path, rows: list[Row]) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="the extra text brings it")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra text brings it")
    columns = {"label": [c for *_, c in rows], "sentence": [a for a, *_ in rows], "other": [b for _, b, _ in rows]}
    parquet.write_table(arrow.table(columns), path / "train.parquet")
    return path / "train.parquet"


anything = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)
one_line = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
labels = st.integers(0, 5)


def rows_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(texts, texts, labels), min_size=1, max_size=6)


def read_back(table: Table) -> list[Row]:
    return [(a, b, int(str(c))) for a, b, c in zip(*table.columns, table.labels, strict=True)]


@pytest.mark.parametrize(
    ("write", "texts"),
    [(write_csv, anything), (write_json, anything), (write_parquet, anything), (write_tsv, one_line)],
)
def test_what_was_written_is_read(
    write: Callable[[Path, list[Row]], Path], texts: st.SearchStrategy[str], tmp_path: Path
) -> None:
    @given(rows_of(texts))
    def check(rows: list[Row]) -> None:
        assert read_back(read_table(write(tmp_path, rows), NAMED)) == rows

    check()


@given(content=st.binary(max_size=200), ending=st.sampled_from([".tsv", ".csv", ".jsonl", ".parquet"]))
def test_any_bytes_give_a_table_or_a_sentence(content: bytes, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"train{ending}"
    file.write_bytes(content)
    for wanted in (Wanted(("a",), "b"), Wanted((0,), 1)):
        try:
            table = read_table(file, wanted)
        except LayerlinkError as error:
            assert "Traceback" not in str(error)
        else:
            assert len(table) == len(table.columns[0]) == len(table.rows) > 0


def test_files_without_names_go_by_places(tmp_path: Path) -> None:
    file = tmp_path / "dev.tsv"
    file.write_text('"fine" it \'s\t1\n\n"so bad\t0\n')
    table = read_table(file, Wanted((0,), 1))
    assert table.columns == (['"fine" it \'s', '"so bad'],)
    assert (table.labels, table.rows) == (["1", "0"], ["line 1", "line 3"])


def test_missing_columns_are_told_together_with_the_closest(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("sentence,labels\nx,1\n")
    with pytest.raises(UsageError) as raised:
        read_table(file, Wanted(("sentense",), "label"))
    assert "data.texts.columns: unknown column 'sentense'. Did you mean sentence?" in str(raised.value)
    assert "data.texts.label: unknown column 'label'. Did you mean labels?" in str(raised.value)
    with pytest.raises(UsageError, match=r"there is no column 4: a row has 2, from 0 on"):
        read_table(file, Wanted((0,), 4))


def test_a_row_that_is_not_like_the_others_is_told(tmp_path: Path) -> None:
    file = tmp_path / "train.tsv"
    file.write_text("good\t1\nbad\t0\tx\n")
    with pytest.raises(
        LayerlinkError, match=r"train.tsv, line 2: expected 2 fields between tabs, as in the first line"
    ):
        read_table(file, Wanted((0,), 1))
    lines = tmp_path / "train.jsonl"
    lines.write_text('{"text": "x", "label": 1}\n{"text": 3, "label": 1}\n')
    with pytest.raises(LayerlinkError, match=r"line 2: expected a text; got 3, which is no text"):
        read_table(lines, Wanted(("text",), "label"))
    lines.write_text('{"text": "x", "label": 0.5}\n')
    with pytest.raises(LayerlinkError, match=r"line 1: expected a label, a name or a whole number; got 0.5"):
        read_table(lines, Wanted(("text",), "label"))


def test_labels_of_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    given_labels = [1, "1", 1.0, True, "neg", "", None, -1, "-1"]
    file.write_text("\n".join(json.dumps({"text": "x", "label": label}) for label in given_labels))
    assert read_table(file, Wanted(("text",), "label")).labels == ["1", "1", "1", "1", "neg", *[None] * 4]


def test_what_is_no_whole_text_or_label_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    for row, said in (
        (r'{"text": "\u00fc \ud83d x", "label": 1}', r"line 2: letter 3 of the text is half of one \('\\ud83d'\)"),
        ('{"text": "x", "label": Infinity}', "line 2: expected a label, a name or a whole number; got inf"),
    ):
        file.write_text('{"text": "\\ud83d\\ude00", "label": 1}\n' + row)
        with pytest.raises(LayerlinkError, match=said):
            read_table(file, Wanted(("text",), "label"))


def test_two_columns_of_one_name_are_told(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra text brings it")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra text brings it")
    table = arrow.Table.from_arrays(
        [arrow.array(["a"]), arrow.array(["b"]), arrow.array([1])], ["text", "text", "label"]
    )
    parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(LayerlinkError, match=r"train\.parquet: there are several columns 'text'\. Rename all but one"):
        read_table(tmp_path / "train.parquet", Wanted(("text",), "label"))


def test_columns_are_all_named_or_all_by_place() -> None:
    with pytest.raises(UsageError, match="all named, or all told by their places"):
        Wanted((0,), "label")
    with pytest.raises(UsageError, match="either a text or the label"):
        Wanted(("a", "a"), "label")


def test_class_names_in_the_metadata_of_the_hub(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra text brings it")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra text brings it")
    said = json.dumps({"info": {"features": {"label": {"names": ["neg", "pos"]}}}})
    table = arrow.table({"text": ["x"], "label": [1]}).replace_schema_metadata({"huggingface": said})
    parquet.write_table(table, tmp_path / "train.parquet")
    assert read_table(tmp_path / "train.parquet", Wanted(("text",), "label")).classes == ("neg", "pos")


@pytest.mark.parametrize("good", [True, False])
def test_a_long_text_is_read_and_other_readers_stay_bounded(good: bool, tmp_path: Path) -> None:
    was, path = csv.field_size_limit(), tmp_path / "long.csv"
    path.write_text(f"text,label\n{'a' * 300_000},good\n" + ("" if good else "a,b,c\n"))
    try:
        table = read_table(path, Wanted(("text",), "label"))
        assert good
        assert len(table.columns[0][0]) == 300_000
    except LayerlinkError:
        assert not good
    assert csv.field_size_limit() == was
