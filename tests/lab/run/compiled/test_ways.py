"""Runs whose models are compiled: the same bits where the same kernels run, also after a stop; told where it fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from capturing import capturing
from layerlink.errors import LayerlinkError, ProblemsError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.compiled import compiling
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.training import train_cohort
from layerlink.lab.run.watch import Watch
from layerlink.taps import program
from layerlink.transfer import Losses

DATA = "data: {name: digits, image_size: 8, train_images: 200, validation: 100}\n"
MODEL = '{model: "small_net:Small", arguments: {width: 4}}'
WIDE = MODEL.replace("4", "6")
TRAINING = "training: {epochs: 2, batch_size: 16, lr: 0.01}\nprecision: float32\n"
TEACHER = f"teacher: {WIDE[:-1]}, weights: own}}\nsoft: {{temperature: 2}}\n"
PEERS = f"peers: {{wide: {WIDE}}}\nsoft: {{temperature: 2}}\n"
LINK = "body -> body : mse, adapter=conv1x1"
ENDING = TEACHER + f'links: ["{LINK}, until=1, scale=gradient"]\n'


class Listening(Watch):
    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        self.told: list[str] = []
        self.stop_at = stop_at

    def tell(self, text: str) -> None:
        self.told.append(text)

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        self.told.append(text)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        if (epoch, step) == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    @property
    def of_compile(self) -> list[str]:
        return [text for text in self.told if text.startswith("compile")]


class Stubborn(nn.Module):
    """Reads a value in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(x.flatten(1))
        return scores if scores.detach().sum().item() > 1e9 else scores * 1.0


@pytest.fixture(autouse=True)
def _captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with capturing(monkeypatch):
        yield


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose compiled passes were made."""
    made: list[str] = []
    plain = program._Program.__call__

    def counted(self: Any, inputs: Any) -> Any:
        made.append(self.recorder.role)
        return plain(self, inputs)

    monkeypatch.setattr(program._Program, "__call__", counted)
    return made


def short(folder: Path, text: str, *changes: str, student: str = f"student: {MODEL}\n") -> LoadedRecipe:
    """13 steps an epoch, the last of them smaller, two epochs."""
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(DATA + student + text + TRAINING)
    return load_recipe(str(path), list(changes))


def trained(folder: Path, *loaded: LoadedRecipe, watch: Watch | None = None, resume: bool = False) -> list[Any]:
    runs = [(setup, RunFolder(folder / str(at))) for at, setup in enumerate(set_up_cohort(loaded))]
    return train_cohort(runs, watch=watch, resume=resume)


def student(folder: Path, at: int = 0) -> bytes:
    return (folder / str(at) / "student.safetensors").read_bytes()


@pytest.mark.parametrize(
    "case", [("",), (ENDING, "training.ema=0.9", "data.augment=crop-flip"), (PEERS,)], ids=["alone", "links", "peers"]
)
def test_a_compiled_run_ends_with_the_weights_of_an_eager_one(
    case: tuple[str, ...], passes: list[str], tmp_path: Path
) -> None:
    watch, results = Listening(), {}
    for way in ("false", "true"):
        (results[way],) = trained(tmp_path / way, short(tmp_path / way, *case, f"compile={way}"), watch=watch)
        assert bool(passes) == (way == "true")
    assert student(tmp_path / "true") == student(tmp_path / "false")
    assert results["true"]["first_losses"] == results["false"]["first_losses"]
    # One pass beforehand, then all of two epochs' 12 whole batches that measure no gradient: of 25 every sixteenth.
    measured = 2 if case[0] == ENDING else 0
    assert passes.count("student") == (1 + 24 - measured) * (2 if case[0] == PEERS else 1)
    (told,) = watch.of_compile
    assert "student compiled" in told


def test_a_cohort_is_compiled_each_for_itself_on_one_teacher(passes: list[str], tmp_path: Path) -> None:
    both = [(ENDING,), (TEACHER, "training.lr=0.02")]
    for way in ("false", "true"):
        folder = tmp_path / way
        trained(folder, *(short(folder, *case, f"compile={way}") for case in both))
    assert [student(tmp_path / "true", at) for at in (0, 1)] == [student(tmp_path / "false", at) for at in (0, 1)]
    assert passes.count("teacher") == 25


@pytest.mark.parametrize(("way", "role"), [("teacher", "teacher"), ("student", "student")])
def test_one_of_the_two_is_compiled_where_the_recipe_says_so(
    way: str, role: str, passes: list[str], tmp_path: Path
) -> None:
    trained(tmp_path, short(tmp_path, TEACHER, f"compile={way}", "training.epochs=1"))
    assert set(passes) == {role}


def test_a_stopped_run_goes_on_with_what_was_measured_and_ends_with_the_same_bits(
    passes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "SHORTEST", 0.0)
    monkeypatch.setattr(compiling, "GAIN", -1e9)  # whatever is measured
    monkeypatch.setattr(compiling, "_SECONDS", 0.0)

    def fastest(times: Any, key: Any) -> str:
        return "compiled"

    monkeypatch.setattr(compiling, "min", fastest, raising=False)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    watch = Listening()
    (result,) = trained(whole, short(whole, ENDING, "compile=auto"), watch=watch)
    assert [text.split(" (")[0] for text in watch.of_compile[:2]] == [
        "compile auto: teacher compiled",
        "compile auto: student compiled",
    ]
    assert result["compiled"] == {"teacher": "compiled", "student": "compiled"}
    with pytest.raises(Interrupted):
        trained(stopped, short(stopped, ENDING, "compile=auto"), watch=Listening(stop_at=(1, 4)))
    monkeypatch.setattr(compiling, "SHORTEST", 1e9)  # measured again, it would not be worth it
    passes.clear()
    watch = Listening()
    (again,) = trained(stopped, short(stopped, ENDING, "compile=auto"), watch=watch, resume=True)
    assert student(stopped) == student(whole)
    assert again["compiled"] == result["compiled"]
    assert passes.count("student") == 1 + 7
    assert watch.of_compile[0].startswith("compile: teacher compiled, student compiled, in ")


def test_measuring_is_left_out_where_the_training_is_short(passes: list[str], tmp_path: Path) -> None:
    watch = Listening()
    trained(tmp_path, short(tmp_path, TEACHER, "compile=auto"), watch=watch)
    assert not passes
    assert watch.of_compile[1].startswith("compile auto: student eager: it takes ")


def test_what_cannot_be_compiled_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    watch, model = Listening(), f'student: {{model: "{__name__}:Stubborn"}}\n'
    (result,) = trained(tmp_path, short(tmp_path, "", "compile=true", student=model), watch=watch)
    assert result["epochs"] == 2
    assert "compile: the student is run eagerly, for torch cannot compile it: " in watch.of_compile[0]
    assert watch.of_compile[0] in (tmp_path / "0" / "warnings.txt").read_text()


def test_a_strict_run_ends_there(tmp_path: Path) -> None:
    model = f'student: {{model: "{__name__}:Stubborn"}}\n'
    (failure,) = trained(tmp_path, short(tmp_path, "", "compile=true", "strict=true", student=model))
    assert isinstance(failure, LayerlinkError)
    assert "cannot compile it" in str(failure)


def test_graphs_are_refused_where_there_is_no_cuda(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match="graphs are CUDA's, and the device is cpu: set compile=true"):
        set_up_cohort([short(tmp_path, "", "compile=graphs", "device=cpu")])


def test_another_word_is_answered_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(LayerlinkError, match="compile"):
        short(tmp_path, "", "compile=fast")
