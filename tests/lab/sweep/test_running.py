from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import small_recipes
from layerlink.errors import LayerlinkError, ProblemsError, UsageError
from layerlink.lab.bench import costs as costs_of
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.memory import OutOfMemoryError
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep import running as sweeping
from layerlink.lab.sweep.expected import expected_costs
from layerlink.lab.sweep.file import Plan, load_sweep
from layerlink.lab.sweep.folder import SweepFolder
from layerlink.lab.sweep.running import cohorts, run_sweep

SWEEP = """\
base: base.yaml
train_teacher: {recipe: teacher.yaml}
baselines: {labels: {soft: null, links: []}}
rows:
  soft: {links: []}
  links: {soft: null, training.epochs: 1}
  both: {soft.temperature: 8}
seeds: 2
"""
BASE = small_recipes.recipe(
    "vgg7",
    192,
    100,
    "epochs: 2, batch_size: 64, lr: 0.02",
    "teacher: vgg16",
    "soft: {temperature: 2}",
    'links: ["group2 : mse * 2", "group5 : mse, scale=gradient, until=1"]',
    data=small_recipes.CROP,
)
TEACHER = small_recipes.teacher(192, 100)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Plan]:
    """Makes the plan of the sweep above, changed."""
    for name, text in (("sweep", SWEEP), ("base", BASE), ("teacher", TEACHER)):
        (tmp_path / f"{name}.yaml").write_text(text)

    def plan(*overrides: str, out: str = "out") -> Plan:
        return load_sweep(str(tmp_path / "sweep.yaml"), overrides, out=tmp_path / out)

    return plan


def run(plan: Plan, watch: Watch | None = None) -> list[sweeping.Outcome]:
    return run_sweep(plan, command="layerlink sweep", watch=watch or Watch())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(RunFolder(folder).student)


def check_same(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert all(torch.equal(a[name], b[name]) for name in a), f"{first.name} differs"


def test_every_run_ends_as_if_alone_and_is_not_repeated(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make()
    outcomes = run(plan)
    assert [outcome.planned.row.name for outcome in outcomes] == ["labels", "soft", "links", "both"] * 2
    assert all(outcome.result for outcome in outcomes)
    for outcome in outcomes[3:5]:
        alone = RunFolder(tmp_path / "alone" / outcome.planned.folder.name)
        train(set_up(outcome.planned.loaded), alone)
        check_same(alone.path, outcome.planned.folder)
    assert "link_factors" in (outcomes[3].result or {})
    stamps = {file: file.stat().st_mtime_ns for file in plan.folder.rglob("*") if file.is_file()}
    again = run(make())
    assert [outcome.result for outcome in again] == [outcome.result for outcome in outcomes]
    del stamps[plan.folder / "sweep.json"]
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())


def test_seeds_make_a_cohort_each_and_a_later_start_adds_to_the_manifest(make: Callable[..., Plan]) -> None:
    assert [[planned.folder.name for planned in group] for group in cohorts(make().runs)] == [
        [f"{name}-{seed}" for name in ("labels", "soft", "links", "both")] for seed in (0, 1)
    ]
    others = make("seeds=[0]", "rows.soft.training.batch_size=32", "rows.links.training.lr=0.1")
    assert [[planned.row.name for planned in group] for group in cohorts(others.runs)] == [
        ["labels", "links", "both"],
        ["soft"],
    ]
    run(make("seeds=[0]", "rows={soft: {links: []}}"))
    run(make("seeds=[3]"))
    manifest = SweepFolder(make().folder).read()
    runs = {row["name"]: row["runs"] for row in manifest["rows"]}
    assert runs["soft"] == {"0": "soft-0", "3": "soft-3"}
    assert runs["both"] == {"3": "both-3"}
    assert manifest["seeds"] == [0, 3]
    assert manifest["teacher"] == "teacher"
    assert [row["baseline"] for row in manifest["rows"]] == [True, False, False, False]


def test_a_stopped_sweep_goes_on_to_the_same_weights(make: Callable[..., Plan], notes: Any) -> None:
    undisturbed = make(out="undisturbed")
    run(undisturbed)
    stopped = make()
    with pytest.raises(Interrupted, match="the same command goes on"):
        run(stopped, notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT)))
    run(stopped)
    for first, second in zip(undisturbed.runs, stopped.runs, strict=True):
        check_same(first.folder, second.folder)


class StopsAsOneEnds(Watch):
    """Ctrl-C while the last runs of the first seed read their test images."""

    def done(self, run: RunFolder, result: dict[str, Any]) -> None:
        if run.path.name == "both-0":
            os.kill(os.getpid(), signal.SIGINT)


def test_a_request_to_stop_that_comes_as_a_cohort_ends_stops_the_sweep(make: Callable[..., Plan]) -> None:
    plan, handler = make(), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="the same command goes on"):
        run(plan, StopsAsOneEnds())
    assert {path.parent.name for path in plan.folder.glob("*/result.json")} == {
        *("teacher", "labels-0", "soft-0", "links-0", "both-0")
    }
    assert signal.getsignal(signal.SIGINT) is handler


KILLED = """\
import os, sys
from pathlib import Path
from layerlink.lab.run import member
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.running import run_sweep
from layerlink.lab.run.watch import Watch

class Dying(Watch):
    def epoch(self, run, row):
        if run.path.name == "soft-1":  # in the middle of a cohort's epoch: some members have written theirs
            os.kill(os.getpid(), 9)

real = member.save
def save(run, learner, position):
    real(run, learner, position)
    if run.path.name == "soft-0" and position.epoch == 1 and not Path(sys.argv[2], "once").exists():
        Path(sys.argv[2], "once").write_text("")
        os.kill(os.getpid(), 9)  # the first members' checkpoints are an epoch ahead of the others'
member.save = save
run_sweep(load_sweep(sys.argv[1], out=Path(sys.argv[2])), command="", watch=Dying() if len(sys.argv) > 3 else Watch())
"""


def test_a_killed_sweep_goes_on_to_the_same_weights(make: Callable[..., Plan], tmp_path: Path) -> None:
    undisturbed = make(out="undisturbed")
    run(undisturbed)
    killed = make()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "sweep.yaml"), str(killed.folder)]
    assert subprocess.run(command, check=False).returncode == -9
    assert subprocess.run([*command, "again"], check=False).returncode == -9
    states = {RunFolder(planned.folder).state() for planned in killed.runs}
    assert "a finished run" in states
    assert len(states) > 1
    run(killed)
    for first, second in zip(undisturbed.runs, killed.runs, strict=True):
        check_same(first.folder, second.folder)


def test_a_run_that_breaks_is_given_up_with_its_reason_and_not_tried_again(
    make: Callable[..., Plan], notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make("seeds=[0]", "rows.soft.training.lr=1e30")
    watch = notes()
    outcomes = {outcome.planned.row.name: outcome for outcome in run(plan, watch)}
    assert outcomes["soft"].result is None
    assert "not a finite number" in outcomes["soft"].failure or "NaN" in outcomes["soft"].failure
    assert all(outcomes[name].result for name in ("labels", "links", "both"))
    assert any("soft-0 is dropped" in text for text in watch.warnings)
    monkeypatch.setattr(sweeping, "set_up", None)  # nothing is set up again
    again = {outcome.planned.row.name: outcome for outcome in run(plan)}
    assert again["soft"].failure == outcomes["soft"].failure
    reason = RunFolder(plan.folder / "soft-0").failure
    reason.write_bytes(b"no \x80 text")
    assert {outcome.planned.row.name: outcome for outcome in run(plan)}["soft"].failure == "no \ufffd text"
    reason.unlink()
    os.mkfifo(reason)
    assert "cannot be read" in {outcome.planned.row.name: outcome for outcome in run(plan)}["soft"].failure


def test_the_cohort_follows_memory(make: Callable[..., Plan], notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make("seeds=[0]")
    together: list[int] = []
    real = sweeping.train_cohort

    def count(runs: Any, **rest: Any) -> Any:
        together.append(len(runs))
        return real(runs, **rest)

    monkeypatch.setattr(sweeping, "train_cohort", count)
    setup = set_up(plan.runs[0].loaded, teacher=set_up(plan.family.teacher).distiller.student)  # type: ignore[arg-type]
    costs = costs_of.measure_costs(setup)
    room = (costs.shared_bytes + 2.5 * costs.student_bytes) / costs_of.SHARE_OF_MEMORY
    monkeypatch.setattr(costs_of, "free_memory", lambda _device: int(room))
    run(plan)
    assert together == [2, 2]


def test_a_cohort_that_does_not_fit_is_halved(
    make: Callable[..., Plan], notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, watch = make("seeds=[0]"), notes()
    real, together = sweeping.train_cohort, []

    def refuse(runs: Any, **rest: Any) -> Any:
        together.append(len(runs))
        if len(runs) > 2:
            raise OutOfMemoryError("out of memory with 64 images in a batch")
        return real(runs, **rest)

    monkeypatch.setattr(sweeping, "train_cohort", refuse)
    assert all(outcome.result for outcome in run(plan, watch))
    assert together == [4, 2, 2]
    assert any("4 students do not fit into memory" in text for text in watch.warnings)


def test_folders_of_other_runs_are_refused_before_anything_is_trained(make: Callable[..., Plan]) -> None:
    run(make("seeds=[0]", "rows={soft: {links: []}}"))
    with pytest.raises(ProblemsError) as caught:
        run(make("training.lr=0.5"))
    assert "training.lr: 0.02   now: 0.5" in str(caught.value)
    assert "labels-0 and 1 more" in str(caught.value)


def test_one_process_a_sweep(make: Callable[..., Plan]) -> None:
    plan = make()
    with SweepFolder(plan.folder).alone(), pytest.raises(UsageError, match="another process"):
        run(plan)


def test_a_damaged_manifest_is_named(make: Callable[..., Plan]) -> None:
    plan = make()
    plan.folder.mkdir()
    for text in ("{", "[]", '{"rows": [{"name": 1}]}', "\x00"):
        (plan.folder / "sweep.json").write_text(text)
        with pytest.raises(LayerlinkError, match=r"sweep\.json is missing or damaged"):
            run(plan)


def test_what_it_will_cost_is_known_before_the_teacher_is_trained(make: Callable[..., Plan]) -> None:
    plan = make()
    first, second = expected_costs(plan)
    assert not (plan.folder / "teacher").exists()
    assert len(first.runs) == len(second.runs) == first.together == 4
    assert first.steps == 2 * 3
    assert first.teacher_seconds > 0
    expected = 3 * (2 * first.teacher_seconds + (2 + 2 + 1 + 2) * first.student_seconds)
    assert first.seconds == pytest.approx(expected)
