"""Where a run stands: what a checkpoint holds, and going on from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.learner import Learner, Meter
from layerlink.lab.machine import describe_machine
from layerlink.lab.recipe import Recipe
from layerlink.lab.recipe_file import dump_recipe
from layerlink.lab.run_folder import RunFolder
from layerlink.lab.setup import Setup


@dataclass
class Position:
    """How far a run is.

    Args:
        epoch: from 0; ``step`` steps of it are done.
        step: from 0, within the epoch.
        meter: what the epoch gave so far.
        rows: the finished epochs' metrics.
        best_accuracy: validation accuracy of the epoch whose weights are kept so far, in percent.
        best_epoch: that epoch, from 1; 0 where none is finished.
    """

    epoch: int = 0
    step: int = 0
    meter: Meter = field(default_factory=Meter)
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_accuracy: float = -1.0
    best_epoch: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and step."""
        return self.epoch, self.step

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {**vars(self), "meter": self.meter.state_dict()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Position:
        """The position that ``state_dict`` gave."""
        return cls(**{**state, "meter": Meter(state["meter"])})


def claim(run: RunFolder, recipe: Recipe, *, resume: bool) -> None:
    """Raise ``UsageError`` where the folder is not this run's: told before minutes are spent on setting up."""
    if not (resume and run.recipe.exists()):
        run.check_empty()
        return
    there, here = run.recipe.read_text(encoding="utf-8"), dump_recipe(recipe)
    if there != here:
        raise UsageError(f"{run.path} holds a run of another recipe:\n{_differences(there, here)}")


@contextmanager
def claimed(run: RunFolder, recipe: Recipe, *, resume: bool) -> Iterator[None]:
    """Claim the folder, and keep other processes from training in it meanwhile."""
    claim(run, recipe, resume=resume)
    with run.alone():
        claim(run, recipe, resume=resume)  # again: another process may have been quicker
        yield


def open_run(setup: Setup, run: RunFolder, learner: Learner) -> Position:
    """Read where the claimed folder's run stands and put the learner there; begin it where nothing is there."""
    if not run.data.exists():  # new, or stopped before its first file was whole
        run.start(dump_recipe(setup.recipe), describe_machine(setup.device, setup.precision), setup.images.stamp)
        return Position()
    _check_data(setup, run)
    if not run.checkpoint.exists():
        return Position()
    state = run.read_checkpoint()
    try:
        learner.load_state_dict(state["learner"])
        return Position.from_state(state["position"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise LayerlinkError(
            f"{run.checkpoint} is of another model or version of layerlink: {error}. Start again with --out FOLDER"
        ) from error


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
    run.write_checkpoint({"learner": learner.state_dict(), "position": position.state_dict()})


def _differences(there: str, here: str) -> str:
    """The lines of two resolved recipes that differ; both have the same fields in the same order."""
    pairs = zip(there.splitlines(), here.splitlines(), strict=False)
    lines = [f"  {old.strip()}   now: {new.strip()}" for old, new in pairs if old != new]
    return (
        "\n".join(lines[:10]) + "\nGive the same recipe and overrides to go on with it, or --out FOLDER for another run"
    )
