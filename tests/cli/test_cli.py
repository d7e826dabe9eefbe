"""The command line as a user meets it: real processes for what only they show, the same function for the rest."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

import small_recipes
from layerlink.cli.main import run_command_line
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.sweep.folder import SweepFolder
from shell import call

TINY = small_recipes.recipe("vgg7", 256, 100, "epochs: 2, batch_size: 64, lr: 0.02")
COMMAND = [sys.executable, "-c", "from layerlink.cli.main import main; main()"]


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "verb",
    [
        *(
            "quickstart",
            "run",
            "sweep",
            "search",
            "report",
            "evaluate",
            "verify",
            "replay",
            "check",
            "bench",
            "layers",
            "ls",
        ),
        *("predict", "card", "push"),
    ],
)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, verb, "--help")
    assert code == 0
    assert f"Example: layerlink {verb}" in " ".join(out.split())


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys\nfrom layerlink.cli.main import run_command_line\nrun_command_line(['--help'])\n"
    code += (
        "heavy = {'torch', 'numpy', 'pydantic', 'sklearn', 'PIL', 'altair'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_run_from_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "run", "tiny.yaml", "training.epochs=1", "seed=4")
    assert (code, err) == (0, "")
    assert "data       digits: 256 train / 100 validation / 360 test, 32x32, 10 classes" in out
    assert re.search(r"^epoch   validation .*\n  1/1 +[\d.]+ %", out, re.MULTILINE)
    assert "test accuracy" in out
    assert "saved runs/tiny-4    next: layerlink evaluate runs/tiny-4" in out
    code, out, err = call(capsys, "evaluate", "runs/tiny-4")
    assert (code, err) == (0, "")
    numbers = [line.split()[1] for line in out.splitlines() if line.startswith(("test ", "recorded "))]
    assert numbers[0] == numbers[1]


def test_a_second_run_is_refused_and_resume_says_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "run", "tiny.yaml", "training.epochs=1")[0] == 0
    code, out, err = call(capsys, "run", "tiny.yaml", "training.epochs=1")
    assert (code, out) == (2, "")
    assert "runs/tiny-0 holds a finished run already; nothing was written" in err
    code, out, _ = call(capsys, "run", "tiny.yaml", "training.epochs=1", "--resume")
    assert code == 0
    assert "runs/tiny-0 is finished already; nothing to do" in out


# In typer's words, whose 0.29 has other ones.
_TYPER = tuple(int(it) for it in metadata.version("typer").split(".")[:2])
AT_LEAST_1 = "should be greater than or equal to 1" if _TYPER >= (0, 29) else "-1 is not in the range x>=1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "tiny.yaml", "training.epocs=3"], "unknown field. Did you mean training.epochs?"),
        (["run", "tini.yaml"], "unknown recipe 'tini.yaml'. Did you mean tiny.yaml?"),
        (["run", "shrunk-1/recipe.yaml"], "there is no file shrunk-1/recipe.yaml, nor a folder shrunk-1."),
        (["run", "tiny.yaml", "data.name=digit"], "unknown data set 'digit'. Did you mean digits?"),
        (["run", "tiny.yaml", "device=cuda:7"], "CUDA GPUs; 'cuda:7' is not there"),
        (["run", "tiny.yaml", "--owt", "x"], "--owt"),
        (["runn", "tiny.yaml"], "runn"),
        (["run"], "recipe"),
        (["evaluate", "nowhere"], "there is no folder nowhere, and so no finished run"),
        (["layers", "vgg7", "widht=2"], "got an unexpected keyword argument 'widht'"),
        (["layers", "vgg7", "--image-size", "33"], "image_size must be a multiple of 32"),
        (["check", "study/vgg16"], "root"),
        (["run", "tiny.yaml", "--out", "tiny.yaml"], "tiny.yaml is a file, and a run needs a folder"),
        (["run", "tiny.yaml", "--out", "tiny.yaml/deep"], "cannot make the run's folder"),
        (["check", "tiny.yaml", "student=torch.nn:Linear"], "missing a required argument"),
        (["check", "tiny.yaml", "student.arguments.width=abc"], "model 'vgg7' could not be made: TypeError"),
        (["check", "tiny.yaml", "student=builtins:dict"], "model 'builtins:dict'"),
        (["layers", "vgg7", "--image-size", "-1"], AT_LEAST_1),
    ],
)
def test_wrong_usage_leaves_with_2_and_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 2, err
    assert message.lower() in err.lower()
    assert "Traceback" not in err + out


def test_a_link_to_try_is_told_as_yaml_and_shell_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = call(capsys, "check", "tiny.yaml", "--link", "`a b` : at(p=2) * 3", "--link", "@output : kd")
    assert '- "`a b` : at(p=2) * 3"\n' in out
    assert """shell      'links=["`a b` : at(p=2) * 3", "@output : kd"]'""" in out
    assert "soft and links need a teacher" in err
    code, _, err = call(capsys, "check", "tiny.yaml", "--link", "a : att * 3")
    assert code == 2
    assert "unknown loss 'att'. Did you mean at or ttm?" in err


def test_code_that_a_link_names_is_told_before_it_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_code_of_a_link.py").write_text(
        "print('it runs')\ndef loss(student, teacher):\n    return student.mean()\n"
    )
    teacher = "teacher={model: vgg16, arguments: {width: 0.05, batch_norm: true}, weights: none-there}"
    link = ["--link", "group3 : own_code_of_a_link:loss"]
    _, out, _ = call(capsys, "check", "tiny.yaml", teacher, *link)
    told = "imports    own_code_of_a_link:loss   code that a link names, run from here on"
    assert told in out
    assert "it runs" not in out.partition(told)[0]


def test_code_that_any_other_field_names_is_told_before_it_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "own_code_of_fields.py").write_text("print('it runs')\nraise SystemExit(0)\n")
    fields = ["data.name", "task.name", "hard.loss"]
    _, out, _ = call(capsys, "check", "tiny.yaml", *(f"{field}=own_code_of_fields:it" for field in fields))
    told = out.partition("it runs")[0].splitlines()
    assert told == [f"imports    own_code_of_fields:it   code that {field} names, run from here on" for field in fields]


def test_losses_and_adapters_are_listed_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "ls")[1]
    assert "dkd(alpha=1, beta=8, temperature=4, standardise=False)" in out
    assert "\nadapter   conv1x1" in out


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "run", "tini.yaml", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_a_fault_of_ours_is_a_sentence_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("layerlink.lab.run.setup.setup.set_up", broken)
    code, _, err = call(capsys, "run", "tiny.yaml")
    assert code == 1
    assert "ZeroDivisionError: oops" in err
    assert "Traceback" not in err


def test_check_shows_everything_and_trains_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call(capsys, "run", "tiny.yaml", "--out", "teacher", "training.epochs=1")[0] == 0
    overrides = [
        "teacher={model: vgg7, arguments: {width: 0.05, batch_norm: true}, weights: teacher}",
        'links=["group2 : mse * 40"]',
        "soft={temperature: 2}",
    ]
    code, out, err = call(capsys, "check", "tiny.yaml", *overrides)
    assert (code, err) == (0, "")
    for part in (
        "link       group2 : mse * 40   (N, 6, 16, 16)",
        "soft (kl, T = 2, with T^2) * 1",
        "GFLOP per image",
        "memory     about",
        "time       about",
        "8 steps",
    ):
        assert part in out, out
    assert not (tmp_path / "runs").exists()


def test_bench_times_the_parts_of_a_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("layerlink.measure.timing._SECONDS", 0.0)
    code, out, err = call(capsys, "bench", "tiny.yaml", "precision=float32")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("tiny   float32 on ")
    assert [line.split()[0] for line in lines[2:7]] == ["data", "student", "labels", "optimiser", "whole"]
    assert lines[3].split()[-1] == "%"
    assert lines[7].startswith("matrix rate: ")
    assert " % of the time." in lines[8]
    code, _, err = call(capsys, "bench", "student.arguments.width=-1")
    assert code == 2
    assert "width must be greater than 0" in err
    assert not list(tmp_path.glob("runs"))


def test_check_shows_what_it_imports_before_it_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "my_own_models.py").write_text("print('it runs')\nraise SystemExit(0)\n")
    load_recipe("tiny.yaml", ["student=my_own_models:net"])  # reading a recipe imports nothing
    assert capsys.readouterr().out == ""
    code, out, err = call(capsys, "check", "tiny.yaml", "student=my_own_models:net")
    assert out.splitlines()[0] == "imports    my_own_models:net   code that student.model names, run from here on"
    assert out.splitlines()[1] == "it runs"
    assert code == 2
    assert "cannot import 'my_own_models' (SystemExit: 0" in err


def test_images_of_an_impossible_size_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(
        capsys, "layers", "vgg7", "--image-size", "32", "--channels", "3", "width=0.05", "--classes", "3"
    )
    assert (code, err) == (0, "")
    code, _, err = call(capsys, "layers", "torch.nn:Identity", "--image-size", "99999999999")
    assert code == 2
    assert "does not run on images (1, 3, 99999999999, 99999999999)" in err


def test_layers_lists_what_can_be_tapped(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "layers", "vgg16", "width=0.125")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert "(N, 32, 8, 8)" in rows["group3"]
    assert "(N, 512)" in rows["hidden"]
    assert "group3.1" in rows


def test_ls_names_recipes_models_losses_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "ls")
    assert code == 0
    names = {tuple(line.split()[:2]) for line in out.splitlines()}
    assert {("recipe", "study/vgg7-links"), ("model", "vgg16"), ("loss", "mse"), ("data", "cifar100")} <= names


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", "tiny.yaml", "training.epochs=500"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    checkpoint = tmp_path / "runs" / "tiny-0" / "checkpoint.pt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Nothing is lost: the same command with --resume goes on (runs/tiny-0)" in err
    assert "Traceback" not in err


def test_a_finished_run_is_not_taken_for_another_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "run", "tiny.yaml", "training.epochs=1")[0] == 0
    code, out, err = call(capsys, "run", "tiny.yaml", "training.epochs=1", "training.lr=0.5", "--resume")
    assert (code, out) == (2, "")
    assert "holds a run of another recipe:\n  training.lr: 0.02   now: 0.5" in err


def test_ctrl_c_before_the_training_is_a_sentence_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("layerlink.lab.run.setup.setup.set_up", interrupted)
    code, _, err = call(capsys, "run", "tiny.yaml")
    assert code == 1
    assert "stopped" in err


@pytest.mark.parametrize(
    ("verb", "told"),
    [("run", "the same command with --resume goes on"), ("sweep", "the same command goes on"), ("ls", "half-written")],
)
def test_what_a_library_makes_of_ctrl_c_is_told_as_ctrl_c(
    verb: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise ImportError("cannot load module more than once per process")

    monkeypatch.setattr("layerlink.cli.main.app", interrupted)
    assert run_command_line([verb], asked=[signal.SIGINT]) == 1
    err = capsys.readouterr().err
    assert err.startswith("layerlink: stopped.")
    assert told in err
    assert run_command_line([verb]) == 1
    assert "cannot load module" in capsys.readouterr().err


def test_ctrl_c_inside_of_exec_leaves_with_1_too() -> None:
    code = (
        "import signal, sys, layerlink.cli.main as m\n"
        "m.app = lambda **_: exec('signal.raise_signal(signal.SIGINT)', {'signal': signal})\n"
        "import atexit; atexit.register(print, 'at the end')\n"
        "sys.argv = ['layerlink', 'ls']\n"
        "m.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "at the end\n")
    assert done.stderr == "layerlink: stopped. No file was left half-written\n"


def test_a_second_ctrl_c_at_the_end_changes_nothing() -> None:
    code = (
        "import atexit, signal, sys, layerlink.cli.main as m\n"
        "atexit.register(signal.raise_signal, signal.SIGINT)\n"
        "m.app = lambda **_: 1\n"
        "sys.argv = ['layerlink', 'ls']\n"
        "m.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_sweep_goes_beside_a_recipe_of_ones_own_and_not_into_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipe.yaml").write_text(TINY)
    folder = SweepFolder(Path())
    with folder.alone():
        pass
    assert call(capsys, "run", "tiny.yaml", "training.epochs=1")[0] == 0
    with (
        pytest.raises(UsageError, match="runs/tiny-0 holds a finished run already"),
        SweepFolder(Path("runs/tiny-0")).alone(),
    ):
        pass


def test_every_wrong_link_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "check", "tiny.yaml", "--link", "group3 : mes", "--link", "", "--link", "a : mse")
    assert (code, out) == (2, "")
    assert err.startswith("layerlink: --link: 2 problems")
    assert '"group3 : mes"\n      unknown loss' in err


def test_every_wrong_argument_of_a_model_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "layers", "vgg7", "width", "=3")
    assert code == 2
    assert err.count("expected key=value, such as width=0.5") == 2
    assert "'width' on the command line" in err


def test_a_field_that_is_written_as_an_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "run", "tiny.yaml", "--batch-size", "3")
    assert code == 2
    assert "A recipe's field is written without dashes: training.batch_size=VALUE" in err


def test_a_tracker_that_is_not_installed_is_told_before_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None if name == "wandb" else object())
    _, out, _ = call(capsys, "check", "tiny.yaml", "track=[wandb, mlflow]")
    assert "warning: track: wandb is not installed, and would be told nothing" in out
    assert "mlflow is not installed" not in out
