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
from layerlink.design.use.card import card
from layerlink.design.use.pushing import push
from layerlink.lab.recipe.file import dump_recipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import recipe_of_run
from layerlink.lab.run.reading.evaluation import set_up_again
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


def test_a_card_that_the_hub_reads(run: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    text = card(RunFolder(run))
    data = hub.ModelCard(text).data
    assert (data.library_name, data.pipeline_tag, data.datasets) == ("layerlink", "image-classification", ["digits"])
    (result,) = data.eval_results
    accuracy = RunFolder(run).read_result()["test_accuracy"]
    assert (result.metric_type, result.metric_value) == ("accuracy", accuracy)
    assert f"| test accuracy, % | {accuracy:,.4g} |" in text
    assert "CC BY 4.0" in text
    assert (data.to_dict()["data_license"], data.license) == ("cc-by-4.0", None)  # of the data, not of the model
    assert "One seed: a difference of a point or two to another model may be luck." in text


@pytest.mark.parametrize("name", ["folder", "webdataset", "segmentation"])
def test_a_way_to_read_ones_own_data_is_no_data_set_of_the_hub(name: str, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    own = RunFolder(tmp_path / "run")
    text = own.recipe.read_text()
    assert "name: digits" in text
    own.recipe.write_text(text.replace("name: digits", f"name: {name}", 1).replace("root: null", "root: photos", 1))
    written = card(own)
    assert "datasets:" not in written
    assert "own data" in written
    assert "licence of the data: not known to layerlink" in written


def test_a_card_beside_the_rows_other_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(TEXT)
    Path("sweep.yaml").write_text("base: base.yaml\nset: {training.epochs: 1}\nrows: {a: {}}\nseeds: 2\n")
    assert run_command_line(["sweep", "sweep.yaml", "--out", "made"]) == 0
    values = [RunFolder(Path(f"made/a-{seed}")).read_result()["test_accuracy"] for seed in (0, 1)]
    spread = abs(values[0] - values[1]) / 2**0.5
    assert run_command_line(["card", "made/a-1"]) == 0
    text = Path("made/a-1/README.md").read_text()
    assert f"| test accuracy, % | {values[1]:,.4g} | {sum(values) / 2:,.4g} ± {spread:.2g} |" in text
    assert "- seed 1\n" in text


def test_pushed_into_a_folder_it_is_loaded_there(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "model"
    assert run_command_line(["push", str(run), str(place)]) == 0
    assert sorted(path.name for path in place.iterdir()) == [
        *("README.md", "data.json", "recipe.yaml", "result.json", "student.safetensors")
    ]
    for path in place.glob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes()
    images = load_source("digits", None).test.images[:4]
    assert torch.equal(ll.load(place)(images), ll.load(run)(images))
    assert run_command_line(["push", str(run), str(place)]) == 0  # again: the same files
    (place / "mine.txt").write_text("mine")
    assert run_command_line(["push", str(run), str(place)]) == 2
    assert run_command_line(["push", str(run), "name"]) == 2


def test_what_its_owner_wrote_into_a_card_stays_and_is_pushed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    shutil.copytree(run, own)
    assert run_command_line(["card", str(own)]) == 0
    assert run_command_line(["card", str(own)]) == 0  # again: the same words
    written = (own / "README.md").read_text().replace("licence of the data: CC BY 4.0", "licence of the data: mine")
    (own / "README.md").write_text(written)
    assert run_command_line(["card", str(own)]) == 2
    assert "says something else; nothing was written" in " ".join(capsys.readouterr().err.split())
    assert (own / "README.md").read_text() == written
    assert run_command_line(["push", str(own), str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "README.md").read_text() == written
    assert run_command_line(["card", str(own), "--out", str(tmp_path / "card.md")]) == 0
    assert "licence of the data: CC BY 4.0" in (tmp_path / "card.md").read_text()


@pytest.mark.parametrize(
    "taught",
    [
        "teacher: {model: vgg7, weights: /home/me/a.safetensors, store: {root: /home/me/stores}}\nsoft: {weight: 1}",
        "teachers: {one: {model: vgg7, weights: /home/me/a.safetensors}, two: {model: vgg7, weights: /home/me/two}}",
        "peers: {wide: {model: vgg7, weights: /home/me/a.safetensors}}\nsoft: {weight: 1}",
    ],
)
def test_no_path_of_the_machine_goes_along(taught: str, run: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(run, own)
    none = {"teacher: null", "teachers: null", "peers: null", "soft: null"}
    lines = [line for line in (run / "recipe.yaml").read_text().splitlines() if line not in none]
    (own / "recipe.yaml").write_text("\n".join([*lines, taught, ""]))
    loaded = recipe_of_run(RunFolder(own)).recipe
    assert "/home/me" in dump_recipe(loaded)
    push(RunFolder(own), str(tmp_path / "model"))
    for name in ("recipe.yaml", "README.md"):
        assert "/home/me" not in (tmp_path / "model" / name).read_text()
    again = recipe_of_run(RunFolder(tmp_path / "model")).recipe
    assert again.every_teacher.keys() == loaded.every_teacher.keys()
    kept = [section.weights.name for section in again.every_teacher.values() if section.weights]
    assert kept == [section.weights.name for section in loaded.every_teacher.values() if section.weights]


def test_what_the_hub_is_asked_for(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    asked: list[tuple[str, object]] = []

    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            asked.append((name, private))

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> object:
            asked.append((repo_id, sorted(path.name for path in folder_path.iterdir())[0]))
            raise OSError("no network")

    monkeypatch.setattr(hub, "HfApi", Api)
    with pytest.raises(ll.LayerlinkError, match="the hub did not take me/model: OSError: no network"):
        push(RunFolder(run), "me/model")
    assert asked == [("me/model", True), ("me/model", "README.md")]


def test_damaged_weights_are_not_pushed(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "damaged")
    weights = tmp_path / "damaged" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ll.LayerlinkError, match=r"student\.safetensors is damaged or truncated"):
        push(RunFolder(tmp_path / "damaged"), str(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_a_push_that_was_killed_is_made_again(run: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / ".student.safetensors.abc.part").write_bytes(b"half")
    push(RunFolder(run), str(tmp_path / "there"))
    assert (tmp_path / "there" / "student.safetensors").read_bytes() == (run / "student.safetensors").read_bytes()


def test_a_push_to_a_full_disk_leaves_no_half_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ll.LayerlinkError, match=r"No space left on device.* What was there before is unchanged"):
        push(RunFolder(run), str(tmp_path / "there"))
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(
    ("target", "told"),
    [("", "the target is empty"), ("/proc/nowhere/x", "cannot write"), ("/dev/null/x", "cannot write")],
)
def test_a_place_that_cannot_be_pushed_to_is_told(run: Path, target: str, told: str) -> None:
    with pytest.raises(ll.LayerlinkError, match=told):
        push(RunFolder(run), target)


def test_a_device_is_no_image(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["predict", str(run), "/dev/null"]) == 2
    assert "/dev/null is neither a file nor a folder" in capsys.readouterr().err
