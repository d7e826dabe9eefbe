"""Sweeps over machines: Ray on a cluster of two nodes, submitit on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import small_recipes
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep import job
from layerlink.lab.sweep.file import Plan, load_sweep
from layerlink.lab.sweep.job import Part, cohort_parts, teacher_parts, work
from layerlink.lab.sweep.machines import machines_named, run_sweep_on
from layerlink.lab.sweep.running import run_sweep

BASE = small_recipes.recipe(
    "vgg7", 128, 64, "epochs: 2, batch_size: 32, lr: 0.02", "teacher: vgg16", "soft: {temperature: 2}"
)
TEACHER = small_recipes.teacher(128, 64)
SWEEP = (
    "base: base.yaml\ntrain_teacher: {recipe: teacher.yaml}\nrows: {cold: {soft.temperature: 1}, warm: {}}\nseeds: 2\n"
)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Plan]]:
    """Makes the plan of the sweep above, changed; paths are relative, as a user types them."""
    for name, text in (("sweep", SWEEP), ("base", BASE), ("teacher", TEACHER)):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the jobs' processes: the bits depend on it
    yield lambda *overrides, out="out": load_sweep("sweep.yaml", overrides, out=Path(out))
    torch.set_num_threads(threads)


class Here:
    """Machines that are this one: jobs run when they are asked for, the last submitted first."""

    def __init__(self, interrupt: bool = False) -> None:
        self.parts: list[Part] = []
        self.cancelled: list[int] = []
        self.interrupt = interrupt

    def submit(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1

    def finished(self, jobs: Any) -> list[int]:
        if self.interrupt:
            raise KeyboardInterrupt
        return [jobs[-1]]

    def failure(self, job: int) -> str:
        return work(self.parts[job])

    def cancel(self, jobs: Any) -> None:
        self.cancelled += jobs


def run(on: Any, plan: Plan, watch: Watch | None = None) -> dict[str, Any]:
    outcomes = run_sweep_on(on, plan, command="layerlink sweep", watch=watch or Watch())
    return {outcome.planned.folder.name: outcome for outcome in outcomes}


def check_same(first: Plan, second: Plan) -> None:
    for one, two in zip(first.runs, second.runs, strict=True):
        a, b = (safetensors.torch.load_file(RunFolder(planned.folder).student) for planned in (one, two))
        assert all(torch.equal(a[name], b[name]) for name in a), one.folder.name


def test_runs_are_those_of_one_machine_and_are_not_repeated(make: Callable[..., Plan], notes: Any) -> None:
    straight, plan, on = make(out="straight"), make(), Here()
    run_sweep(straight, command="", watch=Watch())
    outcomes = run(on, plan)
    assert [part.name for part in on.parts] == ["teacher", "cold-0 and 1 more", "cold-1 and 1 more"]
    assert all(outcome.result for outcome in outcomes.values())
    check_same(straight, plan)
    assert all(RunFolder(planned.folder).mark.exists() for planned in plan.runs)
    again = Here()
    assert run(again, make()) == outcomes
    assert not again.parts


def test_the_size_of_a_cohort_makes_more_jobs(make: Callable[..., Plan]) -> None:
    assert [part.name for part in cohort_parts(make("cohort=1"))] == ["cold-0", "warm-0", "cold-1", "warm-1"]
    assert [part.most for part in cohort_parts(make("cohort=2"))] == [2, 2]
    assert [part.name for part in teacher_parts(make())] == ["teacher"]


def test_a_job_that_fails_leaves_the_others_alone_and_is_tried_again(
    make: Callable[..., Plan], notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, watch = job.run_cohort, notes()

    def fail(runs: Any, most: Any, told: Watch) -> Any:
        if runs[0].seed == 0:
            raise LayerlinkError("the machine has no disk")
        return real(runs, most, told)

    monkeypatch.setattr(job, "run_cohort", fail)
    outcomes = run(Here(), make(), watch)
    assert {name: bool(outcome.result) for name, outcome in outcomes.items()} == {
        "cold-0": False,
        "warm-0": False,
        "cold-1": True,
        "warm-1": True,
    }
    assert outcomes["cold-0"].failure == "the machine has no disk"
    assert watch.warnings == ["cold-0 and 1 more: failed, the others go on: the machine has no disk"]
    monkeypatch.setattr(job, "run_cohort", real)
    again = Here()
    assert all(outcome.result for outcome in run(again, make()).values())
    assert [part.name for part in again.parts] == ["cold-0 and 1 more"]


def test_ctrl_c_cancels_what_is_left(make: Callable[..., Plan]) -> None:
    on = Here(interrupt=True)
    with pytest.raises(LayerlinkError, match="the jobs are cancelled"):
        run(on, make())
    assert on.cancelled == [0]


def test_a_teacher_that_fails_ends_the_sweep(make: Callable[..., Plan]) -> None:
    with pytest.raises(LayerlinkError, match=r"the teacher was not trained: .*not a finite|NaN"):
        run(Here(), make("train_teacher.set.training.lr=1e30"))


def test_wrong_words_are_told(tmp_path: Path) -> None:
    for name, options, said in (
        ("rai", [], "unknown --on 'rai'. Did you mean ray?"),
        ("slurm", ["gpus"], "--job must be KEY=VALUE, such as --job num_gpus=1; got 'gpus'"),
    ):
        with pytest.raises(UsageError) as caught:
            machines_named(name, tmp_path, options)
        assert said in str(caught.value)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named(name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LayerlinkError, match=rf"sweep --on {name} needs the package '{package}'.*layerlink\[{name}\]"):
        machines_named(name, tmp_path, [])


@pytest.fixture
def local_jobs(tmp_path: Path) -> Callable[..., Any]:
    """submitit's own executor for this machine: real jobs in real processes, without Slurm."""
    pytest.importorskip("submitit", reason="pip install 'layerlink[slurm]'")
    from layerlink.lab.sweep.on_slurm import Slurm

    return lambda **options: Slurm(tmp_path / "jobs", {"gpus_per_node": 0, **options}, cluster="local")


def test_submitit_runs_the_jobs(
    make: Callable[..., Plan], local_jobs: Callable[..., Any], notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    straight, plan = make("seeds=1", out="straight"), make("seeds=1")
    run_sweep(straight, command="", watch=Watch())
    assert work(teacher_parts(plan)[0]) == ""
    assert all(outcome.result for outcome in run(local_jobs(), plan).values())
    check_same(straight, plan)


def test_submitit_s_words_are_checked(local_jobs: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--job: .*cpus_per_tusk"):
        local_jobs(cpus_per_tusk=3)
    with pytest.raises(UsageError, match="--on slurm: "):
        machines_named("slurm", tmp_path, [])


def test_a_job_of_submitit_that_is_cancelled_goes_on(
    make: Callable[..., Plan], local_jobs: Callable[..., Any], notes: Any
) -> None:
    plan = make("seeds=1", "training.epochs=400")
    on = local_jobs()
    (teacher,) = teacher_parts(plan)
    assert work(teacher) == ""
    (part,) = cohort_parts(plan)
    job = on.submit(part)
    checkpoint = RunFolder(plan.runs[0].folder).checkpoint
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    on.cancel([job])
    while not on.finished([job]):
        pass
    assert "Nothing is lost" in on.failure(job)
    assert checkpoint.exists()
    assert [part.name for part in cohort_parts(plan)] == ["cold-0 and 1 more"]


@pytest.mark.long  # submitit waits a quarter of a minute for a result that does not come
def test_a_job_of_submitit_that_dies_names_its_log(local_jobs: Callable[..., Any]) -> None:
    on = local_jobs()
    job = on._executor.submit(os._exit, 3)
    while not on.finished([job]):
        pass
    assert "Its log: " in on.failure(job)


RAY = """\
import os, sys
from pathlib import Path
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1}, connect=True)
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
os.environ["RAY_ADDRESS"] = cluster.address
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.machines import machines_named, run_sweep_on
from layerlink.lab.run.watch import Watch
import ray
assert len([node for node in ray.nodes() if node["Alive"]]) == 2
class Told(Watch):
    def tell(self, text):
        print(text, flush=True)
    warn = tell
plan = load_sweep("sweep.yaml", sys.argv[1:], out=Path("out"))
try:
    outcomes = run_sweep_on(machines_named("ray", plan.folder, ["num_cpus=1"]), plan, command="", watch=Told())
    print(sum(bool(outcome.result) for outcome in outcomes), "runs")
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.long
def test_ray_runs_cohorts_on_two_nodes(make: Callable[..., Plan], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'layerlink[ray]' (240 MB)")
    straight, plan = make(out="straight"), make()
    run_sweep(straight, command="", watch=Watch())
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([sys.executable, "-c", RAY], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "4 runs"
    check_same(straight, plan)


@pytest.mark.long
def test_ctrl_c_cancels_ray_s_tasks_with_a_checkpoint(make: Callable[..., Plan], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'layerlink[ray]' (240 MB)")
    plan = make("seeds=1", "training.epochs=4000")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", RAY, "seeds=1", "training.epochs=4000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        rows = RunFolder(plan.runs[0].folder).metrics
        deadline = time.monotonic() + 120
        while not rows.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert "the jobs are cancelled" in err
    state = RunFolder(plan.runs[0].folder).read_checkpoint(RunFolder(plan.runs[0].folder).checkpoint)
    assert state["position"]["epoch"] >= 1
    assert json.loads((plan.folder / "sweep.json").read_text())["teacher"] == "teacher"
