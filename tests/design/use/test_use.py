"""A run's student as it is used: the outputs that its run read, and what is said of files."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import layerlink as ll
import small_recipes
from layerlink.cli.main import run_command_line
from layerlink.data import load_source
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.evaluation import set_up_again
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

TEXT = small_recipes.recipe("vgg7", 300, 50, "epochs: 2, batch_size: 32, lr: 0.02")
NETS = """
from torch import nn


def lazy():
    return Scores(nn.Sequential(nn.Flatten(), nn.LazyLinear(10)))


class Scores(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return {"scores": self.inner(x), "other": x}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("use")
    (folder / "recipe.yaml").write_text(TEXT)
    train(set_up(load_recipe(str(folder / "recipe.yaml"), ["precision=float32"])), RunFolder(folder / "run"))
    return folder / "run"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    source = load_source("digits", None)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "=b.png", "more/c.bmp")):
        Image.fromarray(source.test.images[number, 0].numpy()).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def test_the_outputs_are_those_that_the_run_was_measured_by(run: Path) -> None:
    usable = ll.load(run)
    setup = set_up_again(RunFolder(run))
    images = setup.images.test.images
    setup.distiller.student.eval()
    with torch.no_grad():
        expected = setup.student.logits(setup.images.views(images))
    torch.testing.assert_close(usable(images), expected, rtol=1e-5, atol=1e-5)
    said = usable.told(images)
    right = [row["answer"] == str(int(label)) for row, label in zip(said, setup.images.test.labels, strict=True)]
    assert 100 * sum(right) / len(right) == pytest.approx(RunFolder(run).read_result()["test_accuracy"])
    for row, logits in zip(said[:5], expected[:5].double(), strict=True):
        probabilities = (logits.exp() / logits.exp().sum()).tolist()
        assert row["probability"] == pytest.approx(max(probabilities), rel=1e-4)
        assert [row[f"p {digit}"] for digit in range(10)] == pytest.approx(probabilities, rel=1e-4, abs=1e-9)
    assert not usable.model.training


def test_answers_of_files_as_a_table(run: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["predict", str(run), str(photos)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [Path(row["file"]).name for row in rows] == ["=b.png", "a.png", "c.bmp"]
    usable = ll.load(run)
    direct = usable.told(load_source("digits", None).test.images[[1, 0, 2]].repeat(1, 1, 1, 1))
    # A file is scaled by Pillow before it is seen, the run's 8x8 images by torch: alike, not the same.
    assert [row["answer"] for row in rows] == [row["answer"] for row in direct]
    (photos / "broken.png").write_bytes(b"nothing")
    out = photos / "answers.csv"
    assert run_command_line(["predict", str(run), str(photos), "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert "3 of 4 images" in told.out
    assert "broken.png is left out" in told.err
    assert len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "."], "nowhere is neither a run's folder nor a file"),
        (["{run}", "nowhere"], "there is no nowhere"),
        (["{run}", "{run}"], "no image is there. Images end with .avif, .bmp"),
        (["{run}/result.json", "."], "a run is loaded by its folder"),
        (["{run}", "{run}/result.json"], "result.json is no image. Images end with"),
        (["{photos}", "."], "photos holds no finished run"),
    ],
)
def test_mistakes_are_told(
    run: Path, photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_command_line(["predict", *(word.format(run=run, photos=photos) for word in words)])
    err = capsys.readouterr().err
    assert code in (1, 2)
    assert message in " ".join(err.split())
    assert "fault of layerlink" not in err


def test_a_model_of_ones_own_that_gives_a_mapping_and_whose_run_went_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets_of_a_use_test.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = TEXT.replace("student: {model: vgg7", 'student: {model: "nets_of_a_use_test:lazy", logits: "[scores]"')
    Path("own.yaml").write_text(own.replace(", arguments: {width: 0.05, batch_norm: true}", ""))
    train(set_up(load_recipe("own.yaml", ["training.epochs=1"])), RunFolder(Path("own")))
    usable = ll.load("own")
    assert usable(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape == (2, 10)
    shutil.copytree("own", "given")
    (Path("given") / "mark.json").unlink()  # as somebody else's
    with pytest.raises(ll.LayerlinkError, match=r"student\.model nets_of_a_use_test:lazy"):
        ll.load("given")
    assert ll.load("given", trust_code=True).classes == usable.classes


def test_tasks_say_their_answers() -> None:
    classes = ("cat", "dog")
    assert ll.MultiLabel().told(torch.tensor([[4.0, -4.0], [4.0, 4.0]]), classes)[1]["answer"] == "cat; dog"
    (row,) = ll.Segmentation().told(torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]]), classes)
    assert row == {"answer": "cat", "share cat": 0.5, "share dog": 0.5}
    assert ll.Regression().told(torch.tensor([[1.5, 2.0]]), ("width", "height")) == [{"width": 1.5, "height": 2.0}]
    assert ll.Regression().told(torch.tensor([1.5]), ("a", "b")) == [{"value 0": 1.5}]
    with pytest.raises(ll.UsageError, match="says nothing of its answers in words"):
        ll.CausalLM().told(torch.zeros(1, 2, 3), classes)
