"""Causal language models, end to end: a Llama of a few thousand weights teaches one of half its layers."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file

import layerlink as ll
from layerlink.design.use.answers import answers_of
from layerlink.errors import ProblemsError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch
from layerlink.taps import program
from layerlink.taps.modes import evaluating
from tiny_bert import bert
from tiny_llama import SPECIAL, WORDS, llama, recipe, tables

PADDED = "packing: false, max_length: 12"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    llama(folder / "model", layers=4)
    tables(folder / "data", train=240, dev=24, test=24)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(place / "cache"))


@pytest.fixture(scope="module")
def teacher(place: Path) -> Path:
    run = RunFolder(place / "teacher")
    train(set_up(loaded(place, f"hf:{place / 'model'}", epochs=8, lr=0.02)), run)
    return run.path


def loaded(
    place: Path, model: str, *more: str, changes: Sequence[str] = (), texts: str = "max_length: 12", **training: Any
) -> LoadedRecipe:
    return load_recipe("r.yaml", changes, text=recipe(model, place / "data", *more, texts=texts, **training))


def distilled(place: Path, teacher: Path, *more: str, **training: Any) -> LoadedRecipe:
    """A student of two layers that begins as the teacher's second and last."""
    model = place / "model"
    student = (
        f'student: {{model: "hf:{model}", arguments: {{layers: [1, 3]}}, from_teacher: {{model.embed_tokens: '
        "model.embed_tokens, model.norm: model.norm, model.layers.0: model.layers.1, model.layers.1: model.layers.3}}"
    )
    taught = f'teacher: {{model: "hf:{model}", weights: "{teacher}"}}'
    return loaded(place, "", student, taught, *(more or ("soft: {temperature: 1}",)), **training)


def test_a_teacher_learns_and_is_read_again(teacher: Path) -> None:
    result = RunFolder(teacher).read_result()
    # Words follow each other but for a choice of two; a text's first and last word are less sure.
    assert 2 < result["test_perplexity"] < 6
    assert result["test_nll"] == pytest.approx(math.log(result["test_perplexity"]))
    again = evaluate_run(RunFolder(teacher))
    assert again["test_perplexity"] == pytest.approx(result["test_perplexity"], rel=1e-9)
    assert verify_run(RunFolder(teacher)).holds


def test_it_is_loaded_with_its_tokenizer_and_written_for_transformers(teacher: Path, tmp_path: Path) -> None:
    found = ll.load(teacher)
    assert found.classes == ()
    text = " ".join(WORDS[:3])
    logits = found([text])
    tokens = found.preprocessing.loaded.tokens([[text]], 12)[0]  # type: ignore[union-attr]
    assert logits.shape[:2] == (1, len(tokens))
    found.model.save_pretrained(tmp_path / "own")  # type: ignore[operator]
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "own")
    with torch.no_grad():
        assert torch.equal(again.eval()(input_ids=tokens[None].long()).logits, logits)
    with pytest.raises(UsageError, match="a language model answers with no class"):
        answers_of(found, [teacher / "recipe.yaml"])
    with pytest.raises(UsageError, match="a language model is not exported yet"):
        ll.export(teacher, "onnx")


@pytest.mark.parametrize("texts", ["max_length: 12", PADDED])
def test_a_student_is_taught_and_goes_on_inside_an_epoch_to_the_bit(
    texts: str, place: Path, teacher: Path, notes: Callable[..., Any], tmp_path: Path
) -> None:
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    result = train(set_up(distilled(place, teacher, texts=texts)), straight)
    assert 2 < result["teacher_test_perplexity"] < 6
    assert result["test_perplexity"] < 8 < len(SPECIAL + WORDS)
    with pytest.raises(Interrupted):
        train(
            set_up(distilled(place, teacher, texts=texts)),
            stopped,
            watch=notes((1, 4), lambda: os.kill(os.getpid(), signal.SIGINT)),
        )
    train(set_up(distilled(place, teacher, texts=texts)), stopped, resume=True)
    one, two = load_file(straight.student), load_file(stopped.student)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_terms_are_what_transformers_and_plain_torch_give(place: Path, teacher: Path) -> None:
    setup = set_up(distilled(place, teacher, "soft: {temperature: 2}"))
    assert setup.distiller.pieces is not None
    batch = next(setup.batches.epoch(0))
    inputs = batch.images
    assert isinstance(inputs, dict)
    assert setup.teacher is not None
    student, model = setup.distiller.student, setup.teacher.model
    with evaluating(student), evaluating(model), torch.no_grad():
        setup.distiller.eval()
        terms = {name: float(value) for name, value in setup.distiller(inputs, batch.labels).terms.items()}
        own = student(**inputs, labels=batch.labels)  # transformers shifts and averages itself
        other = model(**inputs).logits[:, :-1]
    softened = [(it / 2).log_softmax(-1).flatten(0, 1) for it in (own.logits[:, :-1], other)]
    apart = 4 * F.kl_div(softened[0], softened[1], log_target=True, reduction="batchmean")
    assert terms["hard"] == pytest.approx(float(own.loss), rel=1e-5)
    assert terms["soft"] == pytest.approx(float(apart), rel=1e-5)


def test_a_student_begins_as_half_of_the_teachers_layers(place: Path, teacher: Path) -> None:
    student = set_up(distilled(place, teacher)).distiller.student.state_dict()
    trained = load_file(RunFolder(teacher).student)
    for name, value in student.items():
        theirs = name.replace("layers.1.", "layers.3.").replace("layers.0.", "layers.1.")
        if name != "lm_head.weight":  # tied to the embedding
            assert torch.equal(value, trained[theirs]), name
    assert torch.equal(student["lm_head.weight"], student["model.embed_tokens.weight"])


def test_perplexity_is_that_of_the_models_own_loss(place: Path, teacher: Path) -> None:
    model = ll.load(teacher).model
    setup = set_up(loaded(place, f"hf:{place / 'model'}"))
    inputs = setup.images.seen(setup.images.test, slice(0, 15))
    with torch.no_grad():
        nll = model.eval()(**inputs, labels=setup.images.test.labels[:15]).loss
    result = RunFolder(teacher).read_result()
    assert result["test_images"] == 15
    assert float(nll.exp()) == pytest.approx(result["test_perplexity"], rel=1e-5)


def test_an_encoder_is_no_causal_student(place: Path, tmp_path: Path) -> None:
    model = bert(tmp_path / "bert", words=WORDS)
    change = f"data.texts.tokenizer={place / 'model'}"
    with pytest.raises(ProblemsError, match="sees tokens that come later"):
        set_up(loaded(place, model, changes=[change]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("data.texts.label=stars", "data.texts.label is of labels, and the task causal-lm has none"),
        ("data.texts.classes=[a, b]", "data.texts.classes is of labels"),
        ("data.texts.columns=[text, stars]", "data.texts.columns must be one for the task causal-lm"),
        ("data.texts.columns=txet", "unknown column 'txet'. Did you mean text"),
        ("data.texts.max_length=100000", "less than one sequence of 100000: lower data.texts.max_length"),
        ("student.model=vgg7", "data.texts.tokenizer: name one"),
    ],
)
def test_mistakes_of_a_recipe(change: str, told: str, place: Path) -> None:
    text = recipe(f"hf:{place / 'model'}", place / "data")
    with pytest.raises(ProblemsError, match=told):
        set_up(load_recipe("r.yaml", [change], text=text))


def test_a_teacher_of_other_tokens_is_told(place: Path, teacher: Path, tmp_path: Path) -> None:
    other = llama(tmp_path / "other", words=tuple(reversed(WORDS)))
    with pytest.raises(ProblemsError, match=r"the teacher's tokenizer .* is not the student's"):
        set_up(loaded(place, other, f'teacher: {{model: "hf:{place / "model"}", weights: own}}', "soft: {}"))


def test_stored_likeliest_tokens_teach_as_those_of_a_live_teacher(place: Path, teacher: Path, tmp_path: Path) -> None:
    told: list[str] = []

    class Told(Watch):
        def tell(self, text: str) -> None:
            told.append(text)

    live, kept = RunFolder(tmp_path / "live"), RunFolder(tmp_path / "kept")
    soft = "soft: {temperature: 2, topk: 5}"
    train(set_up(distilled(place, teacher, soft, epochs=1)), live)
    stored = [f"teacher.store.root={tmp_path / 'store'}"]
    setup = set_up(distilled(place, teacher, soft, epochs=1, changes=stored))
    assert setup.distiller.pieces is not None
    train(setup, kept, watch=Told())
    # 5 classes and 6 logarithms of 2 bytes, a token; rows are tokens of the sequences.
    assert "sequences, top 5 of the logits at T 2 alone (32 bytes a row" in told[0]
    one, two = (it.read_result()["first_losses"] for it in (live, kept))
    assert one == pytest.approx(two, rel=2e-3)
    (store,) = (tmp_path / "store").iterdir()
    sizes = {file.name: file.stat().st_size for file in store.iterdir()}
    assert sizes["values.bin"] == len(setup.images.train) * 12 * 32


def test_sequences_of_many_lengths_are_not_stored(place: Path, teacher: Path, tmp_path: Path) -> None:
    stored = [f"teacher.store.root={tmp_path / 'store'}"]
    soft = "soft: {temperature: 2, topk: 5}"
    setup = set_up(distilled(place, teacher, soft, epochs=1, changes=stored, texts=PADDED))
    assert train(setup, RunFolder(tmp_path / "run"))["test_perplexity"] < 20
    assert not (tmp_path / "store").exists()


@pytest.mark.long
def test_compiled_models_are_compared_in_pieces_too(
    place: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "BACKEND", "aot_eager")  # of many lengths there may be a second program
    told: list[str] = []

    class Told(Watch):
        def tell(self, text: str) -> None:
            told.append(text)

        def warn(self, text: str, run: RunFolder | None = None) -> None:
            told.append(text)

    weights = {}
    for compiled in (False, True):
        run = RunFolder(tmp_path / str(compiled))
        setup = set_up(distilled(place, teacher, epochs=1, changes=[f"compile={str(compiled).lower()}"]))
        assert setup.distiller.pieces is not None
        train(setup, run, watch=Told())
        weights[compiled] = load_file(run.student)
    said = [it for it in told if it.startswith("compile")]
    assert len(said) == 1
    assert said[0].startswith("compile: teacher compiled, student compiled")
    for name, weight in weights[False].items():  # one program serves all lengths, with sums in another order
        torch.testing.assert_close(weights[True][name], weight, rtol=1e-5, atol=1e-6, msg=name)
