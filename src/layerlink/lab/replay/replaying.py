"""`layerlink replay`: a step of a run, made again from its folder alone, in the run's precision and in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerlink.errors import UsageError
from layerlink.lab.replay.look import Look, look
from layerlink.lab.replay.step import Place, step_from
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.kept_fault import KeptFault, read_fault
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.setup.machine import describe_machine
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.watch import Watch


@dataclass(frozen=True)
class Replay:
    """A step that was made again.

    Args:
        run: the folder.
        place: its epoch and step, from 0.
        steps: that an epoch has.
        examples: in its batch.
        noun: what these are: images, texts.
        came_from: how it was found, in words.
        said: what the run said when it ended; empty where no fault is kept.
        seen: in the run's precision.
        beside: the same in float32; None where that is the run's precision.
        notes: what is other than in the run.
    """

    run: RunFolder
    place: Place
    steps: int
    examples: int
    noun: str
    came_from: str
    said: str
    seen: Look
    beside: Look | None
    notes: tuple[str, ...]


def replay_run(
    run: RunFolder,
    overrides: Sequence[str] = (),
    *,
    at: Place | None = None,
    trust_code: bool = False,
    watch: Watch | None = None,
) -> Replay:
    """Make a step of a run again, and look at every layer and term. Nothing is written into the run's folder.

    Args:
        run: the folder, of a run that failed, stopped or is finished.
        overrides: ``key=value`` texts over its recipe, such as another ``data.root`` or ``device=cpu``.
        at: epoch and step, from 0; by default the step that failed.
        trust_code: whether code that the folder names may be called, where this user did not make the run.
        watch: is told how far it is, where steps have to be repeated.

    Raises:
        UsageError: where no step is named and none failed, or the data are other ones.
        ForeignCodeError: where the folder names code of somebody else.
        LayerlinkError: where a file of the folder is damaged.
    """
    if not run.path.is_dir():
        raise UsageError(f"{run.path} is no folder of a run")
    loaded, watch = trusted_recipe_of_run(run, overrides, trust_code=trust_code), watch or Watch()
    if loaded.recipe.peers:
        raise UsageError(f"{run.path}: students that learn from each other are not replayed; a single student's run is")
    if at is None and not run.fault.exists():
        raise UsageError(
            f"{run.path} keeps no step that failed ({run.fault.name} is missing). Any other: --epoch 1 --step 1"
        )
    setup = set_up(loaded)
    _check_data(run, setup)
    fault = read_fault(run)
    until = at or (fault.place if fault else (0, 0))
    learner, teachers = Learner(setup), CohortTeacher([setup], watch)
    step = step_from(run, Learner(setup), teachers, until, watch)
    seen, beside = look(learner, step), None
    if setup.precision != "float32":
        exact = set_up(
            trusted_recipe_of_run(run, [*overrides, "precision=float32"], trust_code=trust_code), images=setup.images
        )
        beside = look(Learner(exact), step)
    place = (step.batch.epoch or 0, step.batch.step)
    notes = tuple(_notes(run, setup, fault, place, seen, until))
    said = fault.text if fault is not None and at is None else ""
    sizes = len(setup.batches), len(step.batch.labels), setup.images.train.noun
    return Replay(run, place, *sizes, step.came_from, said, seen, beside, notes)


def _check_data(run: RunFolder, setup: Setup) -> None:
    stamp, now = run.read_data(), setup.images.stamp
    facts = ("train", "mean", "std", "image_size", "vocabulary", "max_length")  # of images, or of texts
    changed = [name for name in facts if stamp.get(name) != now.get(name)]
    if changed:
        raise UsageError(f"{run.path} was trained on other data: {', '.join(changed)} differ. Set data.root to its own")


def _notes(run: RunFolder, setup: Setup, fault: KeptFault | None, place: Place, seen: Look, until: Place) -> list[str]:
    notes = []
    then, now = run.read_environment(), describe_machine(setup.device, setup.precision)
    changed = [
        f"{name} was {then.get(name)}, is {now.get(name)}"
        for name in ("hardware", "device", "precision", "commit")
        if then.get(name) != now.get(name)
    ]
    if changed:
        notes.append(f"other circumstances than the run's, so the last bits may differ: {'; '.join(changed)}")
    if then.get("processes", 1) != 1:
        notes.append(f"{then['processes']} processes trained it; here one has the whole batch, also in batch norm")
    if place != until:
        notes.append(
            f"the run told of epoch {until[0] + 1}, step {until[1] + 1}; it is this step before it that went wrong"
        )
    if fault is not None and place == until == fault.place and not seen.first and not seen.stopped:
        notes.append("the run failed at this step; made again, everything in it is finite")
    return notes
