from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from layerlink.errors import LayerlinkError, ProblemsError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe, dump_recipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted, several_trainings
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.teaching import cohort_teacher as stored_teacher
from layerlink.lab.run.teaching import stores
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.teaching.stores import relative_error
from layerlink.lab.run.training import train, train_cohort
from layerlink.lab.run.watch import Watch
from layerlink.taps import Tap
from layerlink.teachers.store import TensorStore

Make = Callable[..., LoadedRecipe]
PLAIN = ("data.augment=none", "training.epochs=2")
FIRST = (100,)  # validation images: the teacher is read before it teaches
CHECK = [8]  # images that the teacher computes again when stores are opened
READING = [256, 104]  # batches of the test images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stores of a test go."""
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stores"


@pytest.fixture
def make(recipe: Make) -> Make:
    return lambda *more: recipe(*PLAIN, *more, links=True)


class Told(Watch):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.images: list[int] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        self.warnings.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        self.images.append(done)
        assert total == 256


def passes_of(setup: Setup) -> list[int]:
    """The sizes of the batches that the teacher is run on from now on."""
    seen: list[int] = []
    teacher = setup.teacher
    assert teacher is not None
    teacher.model.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    return seen


def trained(loaded: LoadedRecipe, folder: Path) -> tuple[dict[str, torch.Tensor], list[int], Told]:
    """A student's weights, the teacher's passes, what was told."""
    setup, watch = set_up(loaded), Told()
    passes = passes_of(setup)
    train(setup, RunFolder(folder), watch=watch)
    return safetensors.torch.load_file(RunFolder(folder).student), passes, watch


def stored(loaded: LoadedRecipe) -> tuple[Setup, Told]:
    """The stores filled, without a training."""
    setup, watch = set_up(loaded), Told()
    CohortTeacher([setup], watch)
    return setup, watch


def by_tensor(cache: Path) -> dict[str, Path]:
    """The stores' folders by what they hold."""
    keys = {path.parent: json.loads(path.read_text())["key"] for path in cache.glob("*/store.json")}
    assert len(keys) == len(list(cache.iterdir()))
    return {(key["layer"] or key["tensor"]) + str(key["view"].get("epoch", "")): path for path, key in keys.items()}


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    names = [name for name, value in first.items() if value.is_floating_point()]
    a, b = (torch.cat([state[name].flatten() for name in names]) for state in (first, second))
    return float((a - b).norm() / b.norm())


# Of the weights after 8 steps, relative to their norm; the teacher's own error is 0, 0.2 % and 0.4 %. What bfloat16
# arithmetic gives is stored in bfloat16 as it is.
@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [
        ("float32", "float32", 1e-6),
        ("float32", "bfloat16", 1e-4),
        ("float32", "uint8", 2e-3),
        ("bfloat16", "bfloat16", 0),
    ],
)
def test_live_and_stored_training_agree(
    make: Make, tmp_path: Path, precision: str, dtype: str, tolerance: float
) -> None:
    arithmetic = f"precision={precision}"
    live, _, _ = trained(make(arithmetic), tmp_path / "live")
    read, _, _ = trained(make(arithmetic, f"teacher.store.dtype={dtype}"), tmp_path / "read")
    other, _, _ = trained(make(arithmetic, 'links=["group2 : mse * 20", "group5 : mse"]'), tmp_path / "other")
    assert distance(read, live) <= tolerance
    assert distance(other, live) > 2e-2


def test_the_teacher_runs_once_over_the_images_and_then_never_again(make: Make, tmp_path: Path, cache: Path) -> None:
    first, passes, watch = trained(make("teacher.store=auto"), tmp_path / "first")
    assert passes == [*FIRST, 2, 64, 64, 64, 64, *CHECK, *READING]  # 2 images for the shapes
    assert watch.images == [64, 128, 192, 256]
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    second, passes, watch = trained(make("teacher.store=auto"), tmp_path / "second")
    assert passes == [*FIRST, 2, *CHECK, *READING]
    assert watch.images == []
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == files


def test_what_is_kept_and_its_error_is_told(make: Make, cache: Path) -> None:
    _, watch = stored(make("teacher.store.dtype=uint8"))
    folders = by_tensor(cache)
    error = {name: f"{100 * TensorStore(folder).error:.2g}" for name, folder in folders.items()}
    size = sum(file.stat().st_size for folder in folders.values() for file in folder.iterdir())
    assert watch.lines == [
        f"teacher stored: 256 images, logits float32, group5 uint8 (error {error['group5']} %), "
        f"group2 uint8 (error {error['group2']} %), {size / 1e6:.1f} MB in {cache}"
    ]
    assert 0 < float(error["group5"]) < 1
    assert 400e3 < size < 450e3  # 256 images x (10 x 4 + 26 x 2 x 2 + 6 x 16 x 16) bytes, and the manifests


def test_stores_are_per_tensor_so_that_another_recipe_reads_its_share(make: Make, tmp_path: Path, cache: Path) -> None:
    stored(make("teacher.store=auto"))
    _, passes, _ = trained(make("teacher.store=auto", "soft=null", 'links=["group5 : mse"]'), tmp_path / "fewer")
    assert passes == [*FIRST, 2, *CHECK, *READING]
    assert by_tensor(cache).keys() == {"logits", "group2", "group5"}
    more = 'links=["group2 : mse", "group3 : mse", "group5 : mse"]'
    _, passes, _ = trained(make("teacher.store=auto", more), tmp_path / "more")
    assert passes == [*FIRST, 2, 64, 64, 64, 64, *CHECK, *READING]
    assert by_tensor(cache).keys() == {"logits", "group2", "group3", "group5"}


def test_a_store_gives_what_the_live_teacher_gives_in_memory_of_the_same_kind(make: Make) -> None:
    setup = set_up(make("teacher.store.dtype=float32"))
    read = CohortTeacher([setup], Watch()).at(0, [setup])
    live = CohortTeacher([set_up(make())], Watch()).at(0, [setup])
    assert read is not None
    assert live is not None
    for batch in setup.batches.epoch(1):
        first, second = (
            teacher(batch.images, setup.distiller.wanted, indices=batch.indices) for teacher in (read, live)
        )
        assert first.logits is not None
        assert second.logits is not None
        assert torch.allclose(first.logits, second.logits, rtol=1e-5, atol=1e-5)
        for tap in (Tap("group2"), Tap("group5")):
            assert torch.allclose(first.taps[tap], second.taps[tap], rtol=1e-5, atol=1e-5)
            assert first.taps[tap].stride() == second.taps[tap].stride()


def test_over_the_budget_the_deepest_are_kept_and_the_teacher_runs_no_further_than_the_rest(
    make: Make, tmp_path: Path, cache: Path
) -> None:
    loaded = make("teacher.store.budget_gb=0.0001")
    setup, watch = stored(loaded)
    assert by_tensor(cache).keys() == {"logits", "group5"}
    assert watch.lines[0].endswith(f"in {cache}; group2 computed live: over the budget of 0.0001 GB")
    seen: list[str] = []
    model = setup.distiller.teacher.model
    for name in ("group2", "group3", "output"):
        getattr(model, name).register_forward_hook(lambda *_, name=name: seen.append(name))
    teacher = CohortTeacher([setup], Watch()).at(0, [setup])
    assert teacher is not None
    batches = list(setup.batches.epoch(0))
    seen.clear()
    given = teacher(batches[0].images, setup.distiller.wanted, indices=batches[0].indices)
    assert seen == ["group2"]
    assert given.taps.keys() == {Tap("group2"), Tap("group5")}
    read, _, _ = trained(loaded, tmp_path / "read")
    live, _, _ = trained(make(), tmp_path / "live")
    assert distance(read, live) < 1e-3


def test_without_room_nothing_is_kept_and_the_training_is_live(
    make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _, _ = trained(make(), tmp_path / "live")
    small, _, watch = trained(make("teacher.store.budget_gb=1e-9"), tmp_path / "small")
    told = "teacher stored: nothing; logits, group5, group2 computed live: "
    assert watch.lines == [told + "over the budget of 1e-09 GB"]
    monkeypatch.setattr(stores, "free_bytes", lambda _folder: 1000)
    full, _, watch = trained(make("teacher.store=auto"), tmp_path / "full")
    assert watch.lines == [told + "the disk has 0.0 GB free"]
    assert not cache.exists()
    assert distance(small, live) == distance(full, live) == 0


@pytest.mark.parametrize(
    "change",
    [
        "data.normalize=none",
        "data.normalize=mean",
        "data.split_seed=1",
        "data.train_images=255",
        "precision=bfloat16",
        "teacher.store.dtype=float32",
        "weights",
    ],
)
def test_whatever_changes_what_the_teacher_gives_leads_to_another_store(
    make: Make, cache: Path, tmp_path: Path, teacher_run: Path, change: str
) -> None:
    more = ["teacher.store=auto", "soft=null", 'links=["group5 : mse"]']
    stored(make(*more))
    if change == "weights":
        moved = tmp_path / "teacher"
        shutil.copytree(teacher_run, moved)
        state = safetensors.torch.load_file(moved / "student.safetensors")
        state["group1.0.0.weight"][0, 0, 0, 0] += 1e-3
        safetensors.torch.save_file(state, moved / "student.safetensors")
        change = f"teacher.weights={moved}"
    setup = set_up(make(*more, change))
    object.__setattr__(setup.images.views, "seed", 5)  # matters with augmentation alone
    watch = Told()
    watch.progress = lambda *_: None  # type: ignore[method-assign] - 255 images
    CohortTeacher([setup], watch)
    assert len(list(cache.iterdir())) == 2


def test_whatever_does_not_change_what_the_teacher_gives_leads_to_the_same_store(make: Make, cache: Path) -> None:
    stored(make("teacher.store=auto"))
    before = set(cache.iterdir())
    same = ("seed=7", "training.batch_size=32", "training.lr=1", "soft.weight=2", "data.crop_padding=2")
    _, watch = stored(make("teacher.store=auto", *same, 'links=["group5 : mse"]'))
    assert watch.images == []
    assert set(cache.iterdir()) == before


def test_augmented_views_have_their_logits_stored_epoch_by_epoch_and_taps_computed(
    make: Make, tmp_path: Path, cache: Path
) -> None:
    augmented = ("data.augment=crop-flip",)
    live, _, _ = trained(make(*augmented), tmp_path / "live")
    first, passes, watch = trained(make(*augmented, "teacher.store=auto"), tmp_path / "first")
    assert passes == [*FIRST, 2, *[64] * 8, *READING]
    assert by_tensor(cache).keys() == {"logits0", "logits1"}
    assert watch.lines == [
        f"teacher stored: logits float32 of every view of 2 epochs, 10.2 kB each, in {cache}; "
        "group5, group2 computed live: augmented views change with every epoch"
    ]
    loaded = make(*augmented, "teacher.store=auto")
    setup = set_up(loaded)
    outputs: list[int] = []
    setup.distiller.teacher.model.output.register_forward_hook(lambda _m, _a, out: outputs.append(len(out)))
    train(setup, RunFolder(tmp_path / "second"))
    second = safetensors.torch.load_file(tmp_path / "second" / "student.safetensors")
    # Each epoch: 8 images to check. How often a layer runs was seen on two images already.
    assert outputs == [*FIRST, 2, *CHECK, *CHECK, *READING]
    assert distance(first, live) == distance(second, live) == 0
    assert not torch.equal(*(TensorStore(path).read(torch.arange(256)) for path in by_tensor(cache).values()))


def test_logits_of_views_alone_need_no_pass_the_second_time(make: Make, tmp_path: Path, cache: Path) -> None:
    loaded = ("data.augment=crop", "teacher.store=auto", "links=[]")
    trained(make(*loaded), tmp_path / "first")
    _, passes, _ = trained(make(*loaded), tmp_path / "second")
    assert passes == [*FIRST, 2, *CHECK, *CHECK, *READING]
    for change in ("seed=1", "data.crop_padding=2", "data.augment=flip"):
        before = len(by_tensor(cache)), len(list(cache.iterdir()))
        _, passes, _ = trained(make(*loaded, change, "training.epochs=1"), tmp_path / change)
        assert passes == [*FIRST, 2, *[64] * 4, *READING]
        assert len(list(cache.iterdir())) == before[1] + 1


def test_the_budget_bounds_the_epochs_whose_logits_are_kept(make: Make, tmp_path: Path, cache: Path) -> None:
    loaded = make("data.augment=crop", "training.epochs=3", "teacher.store.budget_gb=0.000021", "links=[]")
    _, _, watch = trained(loaded, tmp_path / "run")
    assert by_tensor(cache).keys() == {"logits0", "logits1"}
    assert "every view of 2 epochs, the others are over the budget of 2.1e-05 GB, 10.2 kB each" in watch.lines[0]


def test_an_epoch_that_was_resumed_in_its_middle_is_not_stored(
    make: Make, notes: Any, tmp_path: Path, cache: Path
) -> None:
    loaded = make("data.augment=crop", "teacher.store=auto")
    run = RunFolder(tmp_path / "run")
    stop = notes((0, 1), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        train(set_up(loaded), run, watch=stop)
    train(set_up(loaded), run, resume=True)
    assert by_tensor(cache).keys() == {"logits1"}


def test_logits_that_cannot_be_stored_are_warned_of_and_the_training_goes_on(
    make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_teacher, "free_bytes", lambda _folder: 9000)
    _, _, watch = trained(make("data.augment=crop", "teacher.store=auto"), tmp_path / "run")
    assert [text for text in watch.warnings if "stored" in text] == [
        f"the teacher's logits of epoch {epoch} were not stored: they take 10.2 kB and the disk has 9.0 kB free"
        for epoch in (1, 2)
    ]
    assert not cache.exists()


@pytest.mark.parametrize("name", ["logits", "group5"])
def test_a_store_with_other_values_is_refused(make: Make, cache: Path, name: str) -> None:
    loaded = make("teacher.store=auto")
    stored(loaded)
    folder = by_tensor(cache)[name]
    values = folder / "values.bin"
    content = values.read_bytes()
    row = len(content) // 256
    values.write_bytes(content[row:] + content[:row])  # every row is its neighbour's
    with pytest.raises(
        LayerlinkError, match=rf"{folder} does not hold what the teacher gives: {name} of 8 images, com"
    ):
        stored(loaded)
    values.write_bytes(content[:-2])
    with pytest.raises(LayerlinkError, match=r"values.bin has .* bytes; expected .*delete the folder"):
        stored(loaded)
    shutil.rmtree(folder)
    stored(loaded)
    assert by_tensor(cache).keys() == {"logits", "group2", "group5"}


def test_a_store_under_the_name_of_another_is_refused_with_the_reason(make: Make, cache: Path) -> None:
    more = ("soft=null", 'links=["group5 : mse"]')
    stored(make("teacher.store=auto", *more))
    (first,) = cache.iterdir()
    stored(make("teacher.store=auto", "data.normalize=none", *more))
    (second,) = (path for path in cache.iterdir() if path != first)
    shutil.rmtree(first)
    second.rename(first)
    with pytest.raises(UsageError, match=r"is a store of something else:\n  mean: expected .*; got \[0.0\]\n  std: "):
        stored(make("teacher.store=auto", *more))


def test_an_interruption_while_storing_leaves_nothing(make: Make, tmp_path: Path, cache: Path) -> None:
    class Impatient(Told):
        def progress(self, what: str, done: int, total: int) -> None:
            assert len(list(cache.iterdir())) == 3  # unfinished
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CohortTeacher([set_up(make("teacher.store=auto"))], Impatient())
    assert list(cache.iterdir()) == []


def test_a_sweep_hears_a_request_to_stop_while_it_stores(make: Make, tmp_path: Path, cache: Path) -> None:
    class Stopping(Told):
        def progress(self, what: str, done: int, total: int) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="the same command goes on"), several_trainings(tmp_path):
        CohortTeacher([set_up(make("teacher.store=auto"))], Stopping())
    assert list(cache.iterdir()) == []


def test_a_teacher_that_gives_nan_is_named_and_not_stored(make: Make, cache: Path) -> None:
    setup = set_up(make("teacher.store=auto"))
    setup.distiller.teacher.model.group3[0][1].weight.fill_(float("nan"))
    with pytest.raises(
        LayerlinkError, match=r"teacher.store: logits cannot be stored. .*; rows 0 .. 63 hold NaN or inf"
    ):
        CohortTeacher([setup], Watch())
    assert list(cache.iterdir()) == []


FILL = """\
import sys
from pathlib import Path
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch

class Together(Watch):
    def progress(self, what, done, total):
        if done == 64:
            print("storing", flush=True)
            sys.stdin.readline()

train(set_up(load_recipe(sys.argv[1], sys.argv[3:])), RunFolder(Path(sys.argv[2])), watch=Together())
"""


def test_two_processes_that_fill_one_store_at_once_both_end_well(make: Make, tmp_path: Path, cache: Path) -> None:
    loaded = make("teacher.store=auto")
    folders = [tmp_path / "first", tmp_path / "second"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FILL, loaded.source, str(folder), *PLAIN, "teacher.store=auto"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "storing\n"
    assert len(list(cache.iterdir())) == 6  # both are at it
    for process in processes:
        process.communicate("\n")
    assert [process.returncode for process in processes] == [0, 0]
    assert by_tensor(cache).keys() == {"logits", "group2", "group5"}
    first, second = (safetensors.torch.load_file(folder / "student.safetensors") for folder in folders)
    assert distance(first, second) == 0


def test_a_cohort_reads_one_store_and_every_student_ends_as_if_alone(make: Make, tmp_path: Path) -> None:
    rows = {
        "labels": ["soft=null", "links=[]"],
        "soft": ["links=[]"],
        "links": ["soft=null", 'links=["group2 : mse * 2", "group4 : mse"]'],
    }
    loaded = {name: load_recipe(make().source, [*PLAIN, *more, "teacher.store=auto"]) for name, more in rows.items()}
    setups = set_up_cohort(list(loaded.values()))
    passes = passes_of(setups[0])
    train_cohort([(setup, RunFolder(tmp_path / f"{name}-{1}")) for name, setup in zip(rows, setups, strict=True)])
    assert passes == [*FIRST, 2, 64, 64, 64, 64, *CHECK, *READING]
    for name in rows:
        alone, _, _ = trained(loaded[name], tmp_path / name)
        together = safetensors.torch.load_file(tmp_path / f"{name}-1" / "student.safetensors")
        assert distance(alone, together) == 0


def test_a_recipe_says_store_auto_or_its_fields(make: Make, tmp_path: Path) -> None:
    def section(*more: str) -> Any:
        teacher = make(*more).recipe.teacher
        assert teacher is not None
        return teacher.store

    assert section() is None
    assert section("teacher.store=null") is None
    auto = section("teacher.store=auto")
    assert (auto.dtype, auto.budget_gb, auto.root) == ("bfloat16", 8, None)
    assert section("teacher.store=auto", "teacher.store.dtype=uint8").dtype == "uint8"
    assert section("teacher.store.root=a: b").root == Path("a: b")
    (tmp_path / "dumped.yaml").write_text(dump_recipe(make("teacher.store.budget_gb=2").recipe))
    assert load_recipe(str(tmp_path / "dumped.yaml")).recipe == make("teacher.store.budget_gb=2").recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teacher.store=outo", r"must be auto, or fields such as \{dtype: uint8, budget_gb: 2\}; got 'outo'"),
        ("teacher.store=3", r"must be auto, or fields such as"),
        ("teacher.store.dtype=int8", r"'float32', 'bfloat16' or 'uint8'; got 'int8'"),
        ("teacher.store.budget_gb=0", r"greater than 0; got 0"),
        ("teacher.store.bugdet_gb=2", r"unknown field. Did you mean teacher.store.budget_gb\?"),
        ("teacher.stor=auto", r"unknown field. Did you mean teacher.store\?"),
        ("student.store=auto", r"student.store .*\n.*unknown field"),
    ],
)
def test_mistakes_are_told(make: Make, text: str, message: str) -> None:
    with pytest.raises(ProblemsError, match=message):
        make(text)


def test_mistakes_in_a_file_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("student: vgg7\nteacher:\n  model: vgg16\n  store:\n    dtype: int8\n")
    with pytest.raises(ProblemsError, match=r"line 5   teacher.store.dtype"):
        load_recipe(str(tmp_path / "recipe.yaml"))


def test_stores_go_where_the_recipe_says(make: Make, tmp_path: Path, cache: Path) -> None:
    stored(make(f"teacher.store.root={tmp_path / 'here'}"))
    assert len(list((tmp_path / "here").iterdir())) == 3
    assert not cache.exists()


def test_without_a_home_a_folder_is_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "cache_folder", lambda: None)
    with pytest.raises(UsageError, match=r"no home folder to keep it in; set teacher.store.root=FOLDER"):
        stored(make("teacher.store=auto"))


def test_the_relative_error_is_that_of_the_root_mean_square() -> None:
    assert relative_error(torch.tensor([3.0, 4.4]), torch.tensor([3.0, 4.0])) == pytest.approx(0.08)
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0
    assert relative_error(torch.ones(2), torch.zeros(2)) > 1e9
