"""Where a run stands: what a checkpoint holds, and going on from it."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError
from torch import Tensor

from layerlink.config.plain_values import plain
from layerlink.config.text import load_yaml
from layerlink.data import Batch
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.parallel.processes import ALONE, Processes, here
from layerlink.lab.recipe.file import dump_recipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.meter import Meter
from layerlink.lab.run.ownership import adopt, recipe_of_run
from layerlink.lab.run.setup.machine import describe_machine
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.watch import Watch
from layerlink.tasks import Task
from layerlink.transfer import Losses

FIRST_STEPS = 5  # whose losses are kept, to verify a run by


@dataclass
class Position:
    """How far a run is.

    Args:
        epoch: from 0; ``step`` steps of it are done.
        step: from 0, within the epoch.
        meter: what the epoch gave so far.
        rows: the finished epochs' metrics.
        best_score: the task's, of the epoch whose weights are kept so far, on the validation images.
        best_epoch: that epoch, from 1; 0 where none is finished.
        saved_best_epoch: what it was at the last checkpoint.
        first_losses: the weighted sums of the first steps, to verify the run by.
        unread_losses: those that are on the device yet.
        compiled: how teacher and student are run, where that was measured.
    """

    epoch: int = 0
    step: int = 0
    meter: Meter = field(default_factory=Meter)
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_score: float = -1.0
    best_epoch: int = 0
    saved_best_epoch: int = 0
    first_losses: list[float] = field(default_factory=list)
    unread_losses: list[Tensor] = field(default_factory=list)
    compiled: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and step."""
        return self.epoch, self.step

    def add(self, losses: Losses, batch: Batch, seconds: float, task: Task, processes: Processes = ALONE) -> None:
        """Count one step."""
        self.meter.add(losses, batch, seconds, task, processes)
        self.step = batch.step + 1
        if self.epoch == 0 and len(self.first_losses) + len(self.unread_losses) < FIRST_STEPS:
            self.unread_losses.append(losses.total.detach())

    def read_losses(self) -> None:
        """Read what is on the device of the first steps' losses."""
        self.first_losses += [float(loss) for loss in self.unread_losses]
        self.unread_losses.clear()

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        self.read_losses()
        known = {name: value for name, value in vars(self).items() if name != "unread_losses"}
        return {**known, "meter": self.meter.state_dict()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Position:
        """The position that ``state_dict`` gave."""
        known = {"best_score" if name == "best_accuracy" else name: value for name, value in state.items()}
        return cls(**{**known, "meter": Meter(state["meter"])})


def claim(run: RunFolder, recipe: Recipe, *, resume: bool, but: Sequence[str] = ()) -> None:
    """Raise ``UsageError`` where the folder is not this run's: told before minutes are spent on setting up.

    A run that is not finished may go on with another number of epochs, and a run of a family whose folder was moved, or
    is named otherwise, with the teacher that lies beside it.

    Args:
        run: in the folder.
        recipe: that is asked for.
        resume: whether a run that is there is to go on.
        but: fields that may differ, by dotted name, and all below them.
    """
    if not (resume and run.recipe.exists()):
        run.check_empty()
        return
    there, asked = _recipe_of(run), _comparable(dump_recipe(recipe))
    if not run.result.exists():
        there.pop("training.epochs", None)
        asked.pop("training.epochs", None)
    if _is_moved(run, there.get(_TEACHER, ""), asked.get(_TEACHER, "")):
        there[_TEACHER] = asked[_TEACHER]
    changed = [
        f"  {name}: {there.get(name, 'not there')}   now: {asked.get(name, 'not there')}"
        for name in dict.fromkeys([*asked, *there])
        if there.get(name) != asked.get(name) and not any(f"{name}.".startswith(f"{field}.") for field in but)
    ]
    if changed:
        lines = "\n".join(changed[:10])
        raise UsageError(
            f"{run.path} holds a run of another recipe:\n{lines}\nGive the same recipe and overrides to go on with it, "
            "or --out FOLDER for another run"
        )


_TEACHER = "teacher.weights"


def _is_moved(run: RunFolder, there: str, asked: str) -> bool:
    """Whether the teacher that is asked for is a family's own, beside its runs, and the other was that elsewhere."""
    old, own = Path(there.strip("'\"")), run.path.parent / "teacher"
    if old.name != own.name or Path(asked.strip("'\"")).resolve() != own.resolve():
        return False
    weights = RunFolder(old).student, RunFolder(own).student
    return not weights[0].exists() or (weights[1].exists() and filecmp.cmp(*weights, shallow=False))


def _recipe_of(run: RunFolder) -> dict[str, str]:
    try:
        text = run.read_text(run.recipe)
        with suppress(UsageError):  # what was written before a field was there has its default
            text = dump_recipe(recipe_of_run(run).recipe)
        return _comparable(text)
    except (OSError, YAMLError, ValueError, RecursionError, UsageError) as error:
        raise LayerlinkError(
            f"{run.recipe} is damaged, which says what run this is. Start again with --out FOLDER ({error})"
        ) from error


def _comparable(text: str) -> dict[str, str]:
    """The fields of a resolved recipe by dotted name, as text."""
    fields: dict[str, str] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(item, f"{name}.{key}" if name else str(key))
        else:
            fields[name] = repr(value)

    walk(plain(load_yaml(text, "safe")), "")
    return fields


@contextmanager
def claimed(run: RunFolder, recipe: Recipe, *, resume: bool) -> Iterator[None]:
    """Claim the folder, and keep other processes from training in it meanwhile."""
    claim(run, recipe, resume=resume)
    with run.alone():
        claim(run, recipe, resume=resume)  # again: another process may have been quicker
        yield


def open_run(setup: Setup, run: RunFolder, learner: Learner, watch: Watch) -> Position:
    """Read where the claimed folder's run stands and put the learner there; begin it where nothing is there.

    A damaged checkpoint is named, and the one before it is used.

    Raises:
        UsageError: where the data or the version of layerlink is another one.
        LayerlinkError: where no checkpoint can be read, or it is another model's.
    """
    state = here().first_says(lambda: _begin_or_read(setup, run, watch))
    if state is None:
        return Position()
    try:
        learner.load_state_dict(state["learner"])
        position = Position.from_state(state["position"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LayerlinkError(
            f"{run.checkpoint} is of another model or version of layerlink: {error}. Start again with --out FOLDER"
        ) from error
    here().first_says(lambda: _check_epochs(setup, run, position, watch))
    return position


def _begin_or_read(setup: Setup, run: RunFolder, watch: Watch) -> dict[str, Any] | None:
    """The state of the run's checkpoint; None where there is none. A run that is not there yet is begun."""
    machine = describe_machine(setup.device, setup.precision)
    if not run.data.exists():  # new, or stopped before its first file was whole
        run.start(dump_recipe(setup.recipe), machine, setup.images.stamp)
        adopt(run, setup.recipe)
        return None
    adopt(run, setup.recipe)  # the user has named this very recipe
    _check_data(setup, run)
    _check_version(run, machine, watch)
    return _read_checkpoint(run, watch) if run.checkpoints else None


def _read_checkpoint(run: RunFolder, watch: Watch) -> dict[str, Any]:
    damaged = []
    for path in run.checkpoints:
        try:
            state = run.read_checkpoint(path)
        except LayerlinkError as error:
            damaged.append(str(error))
            continue
        if damaged:
            text = f"{damaged[0]}; going on from the one before, {path}"
            run.warn(text)
            watch.warn(text)
        return state
    raise LayerlinkError(f"{' and '.join(damaged)}: the run cannot go on. Start it again with --out FOLDER")


def _check_version(run: RunFolder, machine: dict[str, Any], watch: Watch) -> None:
    """Another version may compute otherwise: refused; so may another commit, torch or machine: told."""
    there = run.read_environment()
    if run.checkpoints and there.get("layerlink") != machine["layerlink"]:
        raise UsageError(
            f"{run.path} was begun with layerlink {there.get('layerlink')}; this is {machine['layerlink']}. Go on with "
            "that version, or start again with --out FOLDER"
        )
    before, now = _circumstances(there), _circumstances(machine)
    changed = [f"{name} was {before[name]}, is {now[name]}" for name in now if before[name] != now[name]]
    if run.checkpoints and changed:
        text = f"goes on under other circumstances, so the numbers may differ in the last bits: {'; '.join(changed)}"
        run.warn(text)
        watch.warn(f"{run.path} {text}")


def _circumstances(environment: dict[str, Any]) -> dict[str, Any]:
    names = ("commit", "hardware", "device", "precision")
    packages = environment.get("packages")
    torch_version = packages.get("torch") if isinstance(packages, dict) else None
    processes = environment.get("processes", 1)
    return {"torch": torch_version, **{name: environment.get(name) for name in names}, "processes": processes}


def _check_epochs(setup: Setup, run: RunFolder, position: Position, watch: Watch) -> None:
    """Say so where the number of epochs is another one than before."""
    there = _recipe_of(run).get("training.epochs")
    epochs = setup.recipe.training.epochs
    if there == repr(epochs):
        return
    if epochs < position.epoch:
        raise UsageError(
            f"{run.path} has learnt for {position.epoch} epochs already; training.epochs={epochs} would be fewer"
        )
    text = (
        f"training.epochs was {there}, is {epochs} from epoch {position.epoch + 1} on; the schedule goes by the new one"
    )
    run.warn(text)
    watch.warn(f"{run.path}: {text}")
    run.write_text(run.recipe, dump_recipe(setup.recipe))
    adopt(run, setup.recipe)


def _check_data(setup: Setup, run: RunFolder) -> None:
    before, now = run.read_data(), setup.images.stamp
    changed = [f"  {name}: {before.get(name)}   now: {now[name]}" for name in now if before.get(name) != now[name]]
    if changed:
        lines = "\n".join(changed)
        raise UsageError(
            f"{run.path} was trained on other data:\n{lines}\nBring it back, or start again with --out FOLDER"
        )


def save(run: RunFolder, learner: Learner, position: Position) -> None:
    """Write a checkpoint."""
    before, position.saved_best_epoch = position.saved_best_epoch, position.best_epoch
    state = {"learner": learner.state_dict(), "position": position.state_dict()}
    run.write_checkpoint(state, keep_best=(before, position.best_epoch))
