"""Verifying a run: its first steps and its test reading, made again from its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerlink.errors import UsageError
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.mutual import learner_of
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.watch import Watch
from layerlink.taps.observed import Precision
from layerlink.tasks import Score

# How far losses of the first steps may be from the recorded ones, relatively, on another machine or thread count.
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2}
TEST_IMAGES_OFF = 0.001  # share of the test images that may be read otherwise, at least one


@dataclass(frozen=True)
class Verification:
    """What was recorded, and what came now.

    Args:
        recorded_losses: weighted sums of the first steps.
        losses: the same, made again.
        tolerance: their largest relative difference that is allowed.
        score: what was read of the test images.
        recorded: its value.
        reading: the same, read again.
        reading_tolerance: how far they may be apart.
    """

    recorded_losses: tuple[float, ...]
    losses: tuple[float, ...]
    tolerance: float
    score: Score
    recorded: float
    reading: float
    reading_tolerance: float

    @property
    def largest_difference(self) -> float:
        """Of the losses, relative."""
        pairs = zip(self.recorded_losses, self.losses, strict=True)
        return max((abs(now - then) / max(abs(then), 1e-12) for then, now in pairs), default=0.0)

    @property
    def holds(self) -> bool:
        """Whether everything is within its tolerance."""
        same_reading = abs(self.reading - self.recorded) <= self.reading_tolerance
        return same_reading and self.largest_difference <= self.tolerance


def verify_run(run: RunFolder, overrides: Sequence[str] = (), *, trust_code: bool = False) -> Verification:
    """Repeat a finished run's first steps and its test reading. Nothing is written.

    Args:
        run: the folder.
        overrides: ``key=value`` texts over its recipe, such as another ``data.root``.
        trust_code: whether code that the folder names may be called, where this user did not make the run.

    Raises:
        UsageError: where the run is not finished, or has lost what it was made of.
        ForeignCodeError: where it names code of somebody else.
    """
    result = run.read_result()
    recorded = tuple(float(loss) for loss in result.get("first_losses", ()))
    if not recorded:
        raise UsageError(f"{run.result} holds no losses of the first steps: the run was made by an older layerlink")
    setup = set_up(trusted_recipe_of_run(run, overrides, trust_code=trust_code))
    stamp, now = run.read_data(), setup.images.stamp
    changed = [name for name in (*setup.images.views.facts(), "train") if stamp.get(name) != now[name]]
    if changed:
        raise UsageError(f"{run.path} was trained on other data: {', '.join(changed)} differ. Set data.root to its own")
    learner = learner_of(setup)
    learner.start_epoch(0)
    teacher = CohortTeacher([setup], Watch()).at(0, [setup])
    losses = []
    for _, batch in zip(recorded, setup.batches.epoch(0), strict=False):
        taught = taught_for(teacher, [setup], batch)
        losses.append(float(learner.step(batch, taught).total.detach()))
    if len(losses) != len(recorded):
        raise UsageError(
            f"{run.path}: {len(recorded)} losses of first steps are recorded, and its recipe makes {len(losses)}: "
            f"{run.result.name} or {run.recipe.name} was changed"
        )
    reading, score = evaluate_run(run, overrides, trust_code=trust_code), setup.task.score
    name = f"test_{score.name}"
    then, tolerance = float(result[name]), TOLERANCE[setup.precision]
    share = max(TEST_IMAGES_OFF, 1 / int(reading["test_images"]))
    apart = 100 * share if score.unit == "%" else abs(then) * max(share, tolerance)
    return Verification(recorded, tuple(losses), tolerance, score, then, float(reading[name]), apart)
