"""A run on texts as it is used: the outputs that its run read, what is said of tables, its card, its exported files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import layerlink as ll
import tiny_llama
from layerlink.cli.main import run_command_line
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.design.export import exporting
from layerlink.design.export.formats.job import Opened
from layerlink.design.export.reading import FileModel
from layerlink.design.use.card import card
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import set_up_again
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from tiny_bert import bert, recipe, sentences, tables
from versions import need_onnx_writer

TEXTS = [text for text, _ in sentences(40, seed=7)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERLINK_CACHE", str(folder / "cache"))
        model = bert(folder / "model", layers=1)
        tables(folder / "data", train=72, dev=24, test=24)
        text = recipe(model, folder / "data", epochs=3, lr=0.01)
        train(set_up(load_recipe("r.yaml", ["data.licence=cc-by-4.0"], text=text)), RunFolder(folder / "run"))
    return folder / "run"


@pytest.fixture(autouse=True)
def _quick(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(run.parent / "cache"))
    monkeypatch.setattr(exporting, "SECONDS", 0.0)
    monkeypatch.setattr(exporting, "BATCHES", (1, 2))


def by_hand(run: Path, texts: Sequence[str]) -> Tensor:
    """Logits by transformers alone, a text at a time, so that nothing is padded."""
    transformers = pytest.importorskip("transformers")
    folder = run.parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=2)
    model = transformers.BertForSequenceClassification(config).eval()
    from safetensors.torch import load_file

    model.load_state_dict(load_file(run / "student.safetensors"))
    with torch.no_grad():
        return torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_outputs_are_those_of_transformers_whatever_shares_the_batch(run: Path) -> None:
    model = ll.load(run)
    assert model.classes == ("bad", "good")
    torch.testing.assert_close(model(TEXTS), by_hand(run, TEXTS), rtol=1e-4, atol=1e-5)
    said = model.told(TEXTS)
    wanted = by_hand(run, TEXTS).softmax(1)
    for row, (bad, good) in zip(said, wanted.tolist(), strict=True):
        assert row["answer"] == ("good" if good > bad else "bad")
        assert row["p good"] == pytest.approx(good, rel=1e-3)
    setup = set_up_again(RunFolder(run))
    labels = [setup.images.test.classes[it] for it in setup.images.test.labels]
    right = [row["answer"] == label for row, label in zip(model.told(_test_texts(run)), labels, strict=True)]
    assert 100 * sum(right) / len(right) == pytest.approx(RunFolder(run).read_result()["test_accuracy"])


def _test_texts(run: Path) -> list[str]:
    lines = (run.parent / "data" / "test.tsv").read_text().splitlines()
    return [line.split("\t")[0] for line in lines]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 3, 32, 32), "the model takes a list of texts; got a tensor"),
        ("a film", "expected a list of texts; got str"),
        ([], "expected a list of texts; got none"),
        ([("a", "film")], "expected a list of texts; among them is ('a', 'film')"),
    ],
)
def test_what_is_no_list_of_texts_is_told(run: Path, given: Any, message: str) -> None:
    with pytest.raises(ll.UsageError) as error:
        ll.load(run)(given)
    assert str(error.value) == message


def test_tables_and_lines_are_answered(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, table, jsonl = tmp_path / "a.txt", tmp_path / "b.csv", tmp_path / "c.jsonl"
    lines.write_text("\n".join([TEXTS[0], "", TEXTS[1]]) + "\r\n")
    table.write_text(f"stars,review\n1,{TEXTS[2]}\n2,=a film\n")
    jsonl.write_text(json.dumps({"review": TEXTS[3]}) + "\n")
    assert run_command_line(["predict", str(run), str(lines)]) == 0
    found = rows_of(capsys.readouterr().out)
    assert [(row["row"], row["text"]) for row in found] == [("line 1", TEXTS[0]), ("line 3", TEXTS[1])]
    out = tmp_path / "out.csv"
    words = ["predict", str(run), str(table), str(jsonl), "--column", "review", "--out", str(out)]
    assert run_command_line(words) == 0
    assert "3 of 3 texts" in capsys.readouterr().out
    found = rows_of(out.read_text())
    assert [row["text"] for row in found] == [TEXTS[2], "'=a film", TEXTS[3]]  # no formula for a spreadsheet
    wanted = by_hand(run, [TEXTS[2], "=a film", TEXTS[3]]).softmax(1)[:, 1].tolist()
    assert [float(row["p good"]) for row in found] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["b.csv", "--column", "revieu"], "--column: unknown column 'revieu'. Did you mean review? The first line is"),
        (["b.csv", "--column", "a", "--column", "b"], "the model takes one text a row: say --column once"),
        (["x.png"], "there is no x.png"),
        (["b.pdf"], "b.pdf is no file of texts. Those end with .csv, .json, .jsonl, .parquet, .tsv, .txt"),
    ],
)
def test_what_cannot_be_read_is_told(
    run: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.csv").write_text("stars,review\n1,a film\n")
    Path("b.pdf").write_text("no table")
    assert run_command_line(["predict", str(run), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_card_speaks_of_texts(run: Path) -> None:
    text = card(RunFolder(run))
    assert "pipeline_tag: text-classification" in text
    assert "24 test texts, read once. The epoch was chosen on validation texts." in text
    assert "licence of the data: cc-by-4.0 (`data_license: cc-by-4.0` in the head)" in text
    assert "\ndata_license: cc-by-4.0\n" in text.split("---")[1]
    assert "\nlicense:" not in text  # the model's, which nobody has said
    assert str(run.parent) not in text
    assert "image" not in text


def test_a_licence_in_other_words_stays_out_of_the_head(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "own")
    own = RunFolder(tmp_path / "own")
    own.recipe.write_text(own.recipe.read_text().replace("cc-by-4.0", "for research, ask us"))
    text = card(own)
    assert "licence of the data: for research, ask us\n" in text
    assert "data_license" not in text


def test_a_language_models_card_speaks_of_sequences_and_its_example_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_llama.llama(tmp_path / "model", layers=2)
    tiny_llama.tables(tmp_path / "data", train=40, dev=12, test=12)
    text = tiny_llama.recipe(model, tmp_path / "data", epochs=1)
    train(set_up(load_recipe("r.yaml", [], text=text)), RunFolder(tmp_path / "run"))
    text = card(RunFolder(tmp_path / "run"))
    assert "pipeline_tag: text-generation" in text
    assert "test sequences, read once. The epoch was chosen on validation sequences." in text
    assert "MFLOP: of a sequence of 12 tokens" in text
    assert "On sequences that look unlike the training sequences it may be wrong" in text
    assert "image" not in text
    place = tmp_path / "pushed"
    assert run_command_line(["push", str(tmp_path / "run"), str(place)]) == 0
    shutil.rmtree(tmp_path / "model")
    capsys.readouterr()
    code = (
        text.split("```python\n")[1]
        .split("```")[0]
        .replace('"FOLDER"', repr(str(place)))
        .replace('"..."', '"the film"')
    )
    exec(code)
    assert "tensor([[" in capsys.readouterr().out


def test_a_program_answers_in_any_length_with_its_tokenizer_beside(run: Path, tmp_path: Path) -> None:
    (found,) = ll.export(run, "torch", out=tmp_path / "out")
    assert (found.examples, found.images, found.agreement) == ("texts", 24, 100.0)
    assert found.file_score == pytest.approx(RunFolder(run).read_result()["test_accuracy"])
    assert {"student.pt2", "tokenizer.json", "tokenizer_config.json"} <= {it.name for it in found.path.parent.iterdir()}
    file = ll.load(found.path)
    assert file.classes == ("bad", "good")
    for count in (1, 3, 40):
        torch.testing.assert_close(file(TEXTS[:count]), by_hand(run, TEXTS[:count]), rtol=1e-4, atol=1e-5)
    other = tmp_path / "other"
    shutil.copytree(found.path.parent, other)
    bert(tmp_path / "model", words=("some", "other", "words"))
    shutil.copy(tmp_path / "model" / "tokenizer.json", other / "tokenizer.json")
    with pytest.raises(ll.LayerlinkError, match="makes other tokens than the one that the model was trained with"):
        ll.load(other / "student.pt2")(TEXTS[:2])


def test_what_is_of_images_is_refused(run: Path) -> None:
    with pytest.raises(ll.UsageError, match="--size is of images; of texts a file takes any length"):
        ll.export(run, "torch", size=64)
    with pytest.raises(ll.UsageError, match="--preprocessing is of images"):
        ll.export(run, "torch", preprocessing=True)


@pytest.mark.long
def test_an_onnx_file_and_its_int8_answer_by_onnxruntime_alone(run: Path, tmp_path: Path) -> None:
    onnxruntime, transformers = pytest.importorskip("onnxruntime"), pytest.importorskip("transformers")
    need_onnx_writer()
    whole, small = ll.export(run, "onnx", int8=True, most_loss=100, out=tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole.path.parent)
    session = onnxruntime.InferenceSession(str(whole.path))
    for count in (1, 17):
        given = tokenizer(TEXTS[:count], padding=True, return_tensors="np")
        (logits,) = session.run(None, {it.name: given[it.name] for it in session.get_inputs()})
        assert abs(logits - by_hand(run, TEXTS[:count]).numpy()).max() < 1e-4
    facts = json.loads(session.get_modelmeta().custom_metadata_map["layerlink"])
    assert facts["classes"] == ["bad", "good"]
    assert [it["shape"] for it in facts["inputs"]] == [["batch", "length"]] * 3
    assert (whole.agreement, small.int8) == (100.0, True)
    assert small.agreement is not None
    assert small.agreement > 80
    assert ll.load(small.path)(TEXTS).shape == (40, 2)


@pytest.mark.long
@pytest.mark.parametrize("name", ["openvino", "executorch"])
def test_other_files_answer_as_transformers_do_whatever_shares_the_batch(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in {"openvino": ("openvino", "nncf"), "executorch": ("executorch", "torchao")}[name]:
        pytest.importorskip(package)
    whole, small = ll.export(run, name, int8=True, most_loss=100, out=tmp_path / "out")
    assert (whole.agreement, small.int8) == (100.0, True)
    file = ll.load(whole.path)
    for count in (1, 3, 40):
        torch.testing.assert_close(file(TEXTS[:count]), by_hand(run, TEXTS[:count]), rtol=1e-4, atol=1e-5)
    wanted = by_hand(run, TEXTS)
    assert 0 < float((ll.load(small.path)(TEXTS) - wanted).abs().max()) < 0.1 * float(wanted.abs().max())
    # The model has 40 positions, fewer than the 128 tokens that a text may have: a file's texts are cut to them.
    cut = " ".join(["film"] * 38)
    longer = [cut + " film" * 30, "a"]
    torch.testing.assert_close(file(longer), by_hand(run, [cut, "a"]), rtol=1e-4, atol=1e-5)
    lines = tmp_path / "some.txt"
    lines.write_text("\n".join(TEXTS[:3]) + "\n")
    said = []
    for path in (run, whole.path):
        assert run_command_line(["predict", str(path), str(lines)]) == 0
        said.append([(row["text"], row["answer"]) for row in rows_of(capsys.readouterr().out)])
    assert said[0] == said[1]
    assert len(said[0]) == 3


def test_a_file_takes_as_many_tokens_as_its_student_has_positions(run: Path, tmp_path: Path) -> None:
    (found,) = ll.export(run, "torch", out=tmp_path / "out")
    how = ll.load(found.path).preprocessing
    assert isinstance(how, TextPreprocessing)
    assert how.max_length == 40
    cut = " ".join(["film"] * 38)
    answers = ll.load(found.path)([cut + " film" * 30, "a"])
    torch.testing.assert_close(answers, by_hand(run, [cut, "a"]), rtol=1e-4, atol=1e-5)


def test_a_file_that_answers_less_than_it_was_asked_is_told() -> None:
    file = FileModel(Opened(("ids", "mask"), "", lambda ids, mask: torch.zeros(0, 2)), ("ids", "mask"))
    with pytest.raises(ll.LayerlinkError, match=r"gave 0 answers for 3 examples, inputs \(3, 62\), \(3, 62\)"):
        file(ids=torch.zeros(3, 62), mask=torch.zeros(3, 62))


def test_pushed_it_answers_where_tokenizer_and_model_are_not(run: Path, tmp_path: Path) -> None:
    # A run and a model of their own, which are taken away afterwards.
    model = bert(tmp_path / "model", layers=3)
    text = recipe(model, run.parent / "data", "", epochs=1).replace(
        f'student: "{model}"', f'student: {{model: "{model}", arguments: {{layers: [0, 2]}}}}'
    )
    train(set_up(load_recipe("r.yaml", [], text=text)), RunFolder(tmp_path / "run"))
    wanted = ll.load(tmp_path / "run")(TEXTS)
    place, again = tmp_path / "pushed", tmp_path / "again"
    assert run_command_line(["push", str(tmp_path / "run"), str(place)]) == 0
    assert run_command_line(["push", str(tmp_path / "run"), str(place)]) == 0  # again: the same files
    assert {it.name for it in place.iterdir()} == {
        *("README.md", "data.json", "recipe.yaml", "result.json", "student.safetensors"),
        *("config.json", "tokenizer.json", "tokenizer_config.json"),
    }
    for path in place.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    shutil.rmtree(tmp_path / "model")
    torch.testing.assert_close(ll.load(place)(TEXTS), wanted, rtol=0, atol=0)
    assert run_command_line(["push", str(place), str(again)]) == 0  # what was pushed is pushed on
    torch.testing.assert_close(ll.load(again)(TEXTS), wanted, rtol=0, atol=0)
    assert run_command_line(["push", str(tmp_path / "run"), str(tmp_path / "third")]) == 2  # its tokenizer is gone
    assert not (tmp_path / "third").exists()


def test_a_configuration_that_is_a_link_out_of_its_folder_is_not_read(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "pushed"
    assert run_command_line(["push", str(run), str(place)]) == 0
    (tmp_path / "config.json").write_bytes((place / "config.json").read_bytes())
    (place / "config.json").unlink()
    (place / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(ll.LayerlinkError, match=r"config\.json"):
        ll.load(place)
