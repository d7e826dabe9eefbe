"""Runs on texts, end to end: a BERT of a few thousand weights teaches one of fewer layers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from layerlink.errors import ProblemsError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.replay.replaying import replay_run
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import NotFiniteError
from layerlink.lab.run.learning.memory import OutOfMemoryError
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch
from layerlink.taps.modes import evaluating
from tiny_bert import WORDS, bert, recipe, tables

HIDDEN = "bert.encoder.layer.2 -> bert.encoder.layer.0 : hidden_mse, where=attention_mask"
ATTENTION = (
    "bert.encoder.layer.2.attention.self.query + bert.encoder.layer.2.attention.self.key -> "
    "bert.encoder.layer.0.attention.self.query + bert.encoder.layer.0.attention.self.key : minilmv2(heads=2), "
    "where=attention_mask"
)
TAUGHT = (
    "soft: {temperature: 2, weight: 1}",
    f'links: ["{HIDDEN}", "{ATTENTION}"]',
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    bert(folder / "model", layers=3)
    tables(folder / "data", train=72, dev=24, test=24)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(place / "cache"))


@pytest.fixture(scope="module")
def teacher(place: Path) -> Path:
    run = RunFolder(place / "teacher")
    train(set_up(loaded(place, f"hf:{place / 'model'}", epochs=6, lr=0.01)), run)
    return run.path


def loaded(place: Path, model: str, *more: str, changes: Sequence[str] = (), **training: Any) -> LoadedRecipe:
    return load_recipe("r.yaml", changes, text=recipe(model, place / "data", *more, **training))


def distilled(place: Path, teacher: Path, *more: str, **training: Any) -> LoadedRecipe:
    """A student of one layer that begins as the teacher's last."""
    model = place / "model"
    student = (
        f'student: {{model: "hf:{model}", arguments: {{layers: [2]}}, from_teacher: {{bert.embeddings: '
        "bert.embeddings, bert.encoder.layer.0: bert.encoder.layer.2, bert.pooler: bert.pooler, "
        "classifier: classifier}}"
    )
    taught = f'teacher: {{model: "hf:{model}", weights: "{teacher}"}}'
    return loaded(place, "", student, taught, *(more or TAUGHT), **training)


def same(one: RunFolder, other: RunFolder) -> bool:
    a, b = load_file(one.student), load_file(other.student)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_teacher_learns_and_is_read_again(place: Path, teacher: Path) -> None:
    result = RunFolder(teacher).read_result()
    assert result["test_accuracy"] > 90  # a single word tells: chance is 50
    again = evaluate_run(RunFolder(teacher))
    assert again["test_accuracy"] == again["recorded_test_accuracy"] == result["test_accuracy"]
    assert verify_run(RunFolder(teacher)).holds


def test_a_student_is_taught_and_goes_on_inside_an_epoch_to_the_bit(
    place: Path, teacher: Path, notes: Callable[..., Any], tmp_path: Path
) -> None:
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    result = train(set_up(distilled(place, teacher)), straight)
    assert result["test_accuracy"] > 80
    assert result["teacher_test_accuracy"] > 90
    with pytest.raises(Interrupted):
        train(
            set_up(distilled(place, teacher)),
            stopped,
            watch=notes((1, 4), lambda: os.kill(os.getpid(), signal.SIGINT)),
        )
    position = stopped.read_checkpoint(stopped.checkpoint)["position"]
    assert (position["epoch"], position["step"]) == (1, 5)
    train(set_up(distilled(place, teacher)), stopped, resume=True)
    assert same(straight, stopped)
    assert straight.read_result()["first_losses"] == stopped.read_result()["first_losses"]


def test_terms_are_what_transformers_and_plain_torch_give(place: Path, teacher: Path) -> None:
    setup = set_up(distilled(place, teacher))
    batch = next(setup.batches.epoch(0))
    inputs, labels = batch.images, batch.labels
    assert isinstance(inputs, dict)
    mask = inputs["attention_mask"].bool()
    assert not mask.all()
    assert setup.teacher is not None
    student, model = setup.distiller.student, setup.teacher.model
    with evaluating(student), evaluating(model):
        setup.distiller.eval()
        losses = setup.distiller(inputs, labels)
        own, other = (it(**inputs, output_hidden_states=True) for it in (student, model))
    terms = {name: float(value.detach()) for name, value in losses.terms.items()}
    assert terms["hard"] == pytest.approx(float(F.cross_entropy(own.logits, labels).detach()), rel=1e-5)
    softened = [(it.logits / 2).log_softmax(1) for it in (own, other)]
    apart = 4 * F.kl_div(softened[0], softened[1], log_target=True, reduction="batchmean")
    assert terms["soft"] == pytest.approx(float(apart.detach()), rel=1e-4, abs=1e-7)
    rows = (own.hidden_states[-1] - other.hidden_states[-1]).square().mean(2)
    assert terms[HIDDEN] == pytest.approx(float(rows[mask].mean().detach()), rel=1e-4, abs=1e-7)


def test_a_student_begins_as_the_teachers_layer(place: Path, teacher: Path) -> None:
    student = set_up(distilled(place, teacher)).distiller.student.state_dict()
    trained = load_file(RunFolder(teacher).student)
    for name, value in student.items():
        theirs = trained[name.replace("layer.0.", "layer.2.")]
        assert torch.equal(value, theirs), name


def test_padding_changes_no_answer(place: Path, teacher: Path) -> None:
    setup = set_up(loaded(place, f"hf:{place / 'model'}"))
    test = setup.images.test
    together = setup.images.seen(test, slice(0, 8))
    with evaluating(setup.distiller.student), torch.no_grad():
        whole = setup.distiller.student(**together).logits
        alone = [setup.distiller.student(**setup.images.seen(test, slice(n, n + 1))).logits for n in range(8)]
    assert torch.allclose(whole, torch.cat(alone), atol=1e-6)


def test_a_stored_teacher_gives_its_logits_and_links_are_computed(place: Path, teacher: Path, tmp_path: Path) -> None:
    live, kept = RunFolder(tmp_path / "live"), RunFolder(tmp_path / "kept")
    train(set_up(distilled(place, teacher, epochs=1)), live)
    told: list[str] = []

    class Told(Watch):
        def tell(self, text: str) -> None:
            told.append(text)

    stored = [f"teacher.store.root={tmp_path / 'store'}"]
    train(set_up(distilled(place, teacher, epochs=1, changes=stored)), kept, watch=Told())
    assert "logits float32" in told[0]
    assert "computed live: layers of texts are of many lengths" in told[0]
    one, two = (it.read_result()["first_losses"] for it in (live, kept))
    assert one == pytest.approx(two, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("data.augment=flip", "augment is of images, and the data set text has none"),
        ("data.workers=2", "workers is of images"),
        ("data.texts.columns=[0, 2]", r"data.texts.columns: there is no column 2: a row has 2"),
        ("data.texts.label=stars", "columns are all named, or all told by their places"),
        ("data.texts.classes=[a, b, c]", None),
        ("student.model=vgg7", "data.texts.tokenizer: name one: the student vgg7 is no hf:NAME_OR_FOLDER"),
    ],
)
def test_mistakes_of_a_recipe(change: str, told: str | None, place: Path) -> None:
    text = recipe(f"hf:{place / 'model'}", place / "data")
    if told is None:
        assert set_up(load_recipe("r.yaml", [change], text=text)).images.train.classes == ("a", "b", "c")
        return
    with pytest.raises(ProblemsError, match=told):
        set_up(load_recipe("r.yaml", [change], text=text))


def test_a_run_of_other_tokens_is_not_read_with_these(place: Path, teacher: Path, tmp_path: Path) -> None:
    other = bert(tmp_path / "other", layers=3, words=tuple(reversed(WORDS)))
    with pytest.raises(UsageError, match="was trained on other tokens"):
        evaluate_run(RunFolder(teacher), [f"student.model={other}"])


@pytest.mark.parametrize(
    "taught_by",
    [
        ("teacher: {model: ema, arguments: {decay: 0.9}}", "soft: {temperature: 2}"),
        ('peers: {other: "MODEL"}', "soft: {temperature: 2}"),
        (
            'teachers: {one: {model: "MODEL", weights: "RUN"}, two: {model: "MODEL", weights: "RUN"}}',
            "soft: {temperature: 2}",
        ),
    ],
)
def test_other_teachers_see_the_same_texts(
    taught_by: tuple[str, ...], place: Path, teacher: Path, tmp_path: Path
) -> None:
    model = f"hf:{place / 'model'}"
    lines = [it.replace("MODEL", model).replace("RUN", str(teacher)) for it in taught_by]
    result = train(set_up(loaded(place, model, *lines, epochs=1)), RunFolder(tmp_path / "run"))
    assert len(result["first_losses"]) == 5


def test_a_step_on_texts_that_overflows_is_replayed(place: Path, teacher: Path, tmp_path: Path) -> None:
    weights = load_file(teacher / "student.safetensors")
    weights["classifier.bias"][0] = torch.inf
    save_file(weights, tmp_path / "broken.safetensors")
    run = RunFolder(tmp_path / "run")
    with pytest.raises(NotFiniteError, match="layerlink replay"):
        train(set_up(distilled(place, tmp_path / "broken.safetensors")), run)
    found = replay_run(run)
    assert found.place == (0, 0)
    assert found.seen.first.startswith("the teacher's classifier (Linear) gave inf in ")
    assert "texts (training texts " in found.seen.first


def test_out_of_memory_speaks_of_texts_and_of_their_length(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = set_up(loaded(place, f"hf:{place / 'model'}"))

    def exhausted(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(setup.distiller.student, "forward", exhausted)
    with pytest.raises(OutOfMemoryError) as error:
        train(setup, RunFolder(tmp_path / "run"))
    assert "out of memory with 8 texts in a batch" in str(error.value)
    assert "training.batch_size=4 or a smaller data.texts.max_length;" in str(error.value)
