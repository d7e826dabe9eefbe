"""Whole folders that a stranger hands over: every file as every hostile kind, against every verb that reads them.

Whatever lies there, a verb ends with an exit code and a sentence; it calls no code that the folder names, reads nothing
outside of it, and changes nothing there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerlink.cli.main import run_command_line
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from peoples_models import StopAfter

SECRET = "TOPSECRET-4711"
SECONDS = 60  # after which a verb is said to hang
LONG = settings.default is not None and settings.default.max_examples > 500

DATA = "data: {name: digits, image_size: 32, train_images: 40, validation: 20}\nprecision: float32\ndevice: cpu\n"
TEACHER = DATA + "student: {model: vgg7, arguments: {width: 0.05}}\ntraining: {epochs: 1, batch_size: 20, lr: 0.01}\n"
STUDENT = DATA + (
    "student: {model: vgg7, arguments: {width: 0.02}}\n"
    "teacher: {model: vgg7, arguments: {width: 0.05}, weights: given/teacher}\n"
    "soft: {temperature: 2}\ntraining: {epochs: 2, batch_size: 20, lr: 0.01}\n"
)
SWEEP = "base: student.yaml\nrows: {student: {}, begun: {training.lr: 0.02}}\nseeds: 1\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of a teacher, a finished student and one that was stopped."""
    top = tmp_path_factory.mktemp("whole")
    for name, text in (("teacher", TEACHER), ("student", STUDENT), ("sweep", SWEEP)):
        (top / f"{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        train(set_up(load_recipe("teacher.yaml")), RunFolder(Path("given/teacher")))
        assert run_command_line(["sweep", "sweep.yaml", "--out", "given"]) == 0
        shutil.rmtree("given/begun-0")
        loaded = load_recipe("student.yaml", ["training.lr=0.02"])
        with pytest.raises(Interrupted):
            train(set_up(loaded), RunFolder(Path("given/begun-0")), watch=StopAfter(3))
        manifest = json.loads(Path("given/sweep.json").read_text())
        Path("given/sweep.json").write_text(json.dumps({**manifest, "teacher": "teacher"}))
        for name in ("given/student-0/warnings.txt", "given/begun-0/failed.txt"):
            Path(name).write_text("a line\n")
    return top


FILES = (
    *("recipe.yaml", "environment.json", "data.json", "metrics.csv", "result.json", "warnings.txt", "failed.txt"),
    *("student.safetensors", "student.extra.pt", "checkpoint.pt", "checkpoint-before.pt", "mark.json"),
    *("best-1.safetensors", ".warnings.txt.abc.part"),
)
PLACES = [
    *(f"{run}/{file}" for run in ("teacher", "student-0", "begun-0") for file in FILES),
    *(
        "sweep.json",
        "report",
        "report/tables",
        "report/index.html",
        "report/figures",
        "search.db",
        "student-0",
        "teacher",
    ),
]
ODD = [
    "x\x1b[31m",
    "a\nb",
    "\u202egnp",
    "\ufffe",
    "=1+1",
    "<script>alert(1)</script>",
    "`x`|",
    "é" * 40,
    "../../up",
    "/etc",
]
VALUES: list[Any] = [None, True, -1, 0, 1e308, float("nan"), 10**40, "", [], {}, [[]], {"a": {"b": []}}, *ODD]
Hostile = Callable[[Path, Path], None]


def emptied(path: Path, _outside: Path) -> None:
    remove(path)
    path.write_bytes(b"")


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def gone(path: Path, _outside: Path) -> None:
    remove(path)


def piped(path: Path, _outside: Path) -> None:
    remove(path)
    os.mkfifo(path)


def foldered(path: Path, _outside: Path) -> None:
    remove(path)
    path.mkdir()


def sparse(path: Path, _outside: Path) -> None:
    remove(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)


def linked(target: str) -> Hostile:
    def link(path: Path, outside: Path) -> None:
        remove(path)
        path.symlink_to(target.replace("OUTSIDE", str(outside)))

    return link


def hard_linked(path: Path, outside: Path) -> None:
    """Such a file is one of the folder and is read; it is not written to, for it is another, too."""
    remove(path)
    os.link(outside / "also", path)


def filled(content: bytes) -> Hostile:
    def fill(path: Path, _outside: Path) -> None:
        remove(path)
        path.write_bytes(content)

    return fill


def plain_file(path: Path) -> bool:
    """Whether it may be read and written again here: what an earlier change made of it may lead anywhere."""
    if path.is_symlink() or not path.is_file():
        return False
    found = path.stat()
    return found.st_nlink == 1 and found.st_size < 50_000_000


def cut(share: float) -> Hostile:
    def shorten(path: Path, _outside: Path) -> None:
        if plain_file(path):
            content = path.read_bytes()
            path.write_bytes(content[: int(share * len(content))])

    return shorten


def calling(path: Path, outside: Path) -> None:
    """Every model, loss, task and data set that a recipe may name, as a command of the shell."""
    if plain_file(path) and path.suffix == ".yaml":
        call = {"model": "os:system", "arguments": {"command": f"touch {outside}/CALLED"}}
        lines = path.read_text()
        lines = re.sub(r"(?m)^student:\n(  .*\n)+", f"student: {json.dumps(call)}\n", lines)
        lines = re.sub(r"(?m)^teacher:\n(  .*\n)+", f"teacher: {json.dumps({**call, 'weights': 'own'})}\n", lines)
        path.write_text(lines)


def changed(name: str, value: Any) -> Hostile:
    """A field of a JSON file, of a CSV's first line or of YAML is something else."""

    def change(path: Path, _outside: Path) -> None:
        if not plain_file(path):
            return
        if path.suffix == ".json":
            try:
                content = json.loads(path.read_text())
            except ValueError:
                return
            if isinstance(content, dict):
                keys = list(content)
                content[keys[len(name) % len(keys)] if keys else name] = value
                path.write_text(json.dumps(content))
        elif path.suffix in (".csv", ".yaml", ".txt"):
            lines = path.read_text(errors="replace").split("\n")
            lines[len(name) % len(lines)] = (
                f"{name}: {json.dumps(value)}" if path.suffix == ".yaml" else f"{name},{value}"
            )
            path.write_text("\n".join(lines), errors="replace")

    return change


KINDS = st.one_of(
    st.sampled_from([emptied, gone, piped, foldered, sparse, hard_linked, calling]),
    st.sampled_from(["OUTSIDE/secret", "OUTSIDE", "/dev/zero", "/dev/stdin", "loop", "/proc/self/environ", "."]).map(
        linked
    ),
    st.sampled_from([b"\x00", b"[" * 5000, b"{}", b"null", b'{"a": NaN}', b"\xff\xfe", b"PK\x03\x04", b"&a [*a]"]).map(
        filled
    ),
    st.binary(max_size=64).map(filled),
    st.floats(0, 1).map(cut),
    st.builds(changed, st.sampled_from(["title", "seed", "commit", "epoch", *ODD]), st.sampled_from(VALUES)),
)
VERBS: dict[str, tuple[tuple[str, ...], ...]] = {
    "read": (
        ("evaluate", "given/student-0"),
        ("verify", "given/student-0"),
        ("evaluate", "given/begun-0"),
        ("replay", "given/begun-0", "--epoch", "1"),
    ),
    "report": (("report", "given", "--no-measure"),),
    "measure": (("report", "given/student-0", "given/teacher", "--measure", "1"), ("report", "given")),
    "train": (
        ("run", "student.yaml", "training.lr=0.02", "--out", "given/begun-0", "--resume"),
        ("sweep", "sweep.yaml", "--out", "given"),
        ("check", "student.yaml"),
    ),
}


@contextmanager
def in_time() -> Iterator[None]:
    def hangs(_number: int, _frame: Any) -> None:
        raise AssertionError(f"it hangs: more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def holds_secret(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        facts = path.lstat()
        if path.is_file() and not path.is_symlink() and facts.st_nlink == 1 and facts.st_size < 50_000_000:
            found += [str(path)] if SECRET.encode() in path.read_bytes() else []
    return found


@pytest.mark.parametrize("verbs", VERBS)
@settings(max_examples=500 if LONG else 6, deadline=None)
@given(what=st.lists(st.tuples(st.sampled_from(PLACES), KINDS), min_size=1, max_size=3), which=st.integers(0, 2))
def test_no_folder_breaks_a_verb_or_leads_it_astray(
    verbs: str, what: list[tuple[str, Hostile]], which: int, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    verb = VERBS[verbs][which % len(VERBS[verbs])]
    top = whole.parent / "case"
    shutil.rmtree(top, ignore_errors=True)
    shutil.copytree(whole, top)
    outside = whole.parent / "outside"
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    (outside / "secret").write_text(f"{SECRET}\n")
    (outside / "also").write_text("student: vgg7\n")
    for place, hostile in what:
        path = top / "given" / place
        if path.parent.is_dir() and not path.parent.is_symlink():
            hostile(path, outside)
    before = everything(outside)
    with pytest.MonkeyPatch.context() as patch, in_time():
        patch.chdir(top)
        code = run_command_line(list(verb))
    told = "".join(capfd.readouterr())
    assert code in (0, 1, 2), told
    assert "Traceback" not in told, told
    assert "fault of layerlink" not in told, told
    assert "\x1b" not in told
    assert SECRET not in told
    assert everything(outside) == before
    assert not holds_secret(top)


def test_the_hostile_kinds_do_what_they_say(whole: Path, tmp_path: Path) -> None:
    """The tester itself: what it looks for is found where a verb went astray."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    copy = Path(shutil.copytree(whole / "given", tmp_path / "given"))
    calling(copy / "student-0" / "recipe.yaml", outside)
    text = (copy / "student-0" / "recipe.yaml").read_text()
    assert text.count("os:system") == 2
    assert load_recipe(str(copy / "student-0" / "recipe.yaml")).recipe.student.model == "os:system"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(whole)
        run_command_line(["evaluate", str(copy / "student-0"), "--trust-code"])
    assert (outside / "CALLED").exists()
    shutil.copy(outside / "secret", copy / "student-0" / "warnings.txt")
    assert holds_secret(copy) == [str(copy / "student-0" / "warnings.txt")]
