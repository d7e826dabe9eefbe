"""A student of a cohort: its beginning, its epochs, its checkpoints and its end."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layerlink.errors import LayerlinkError
from layerlink.files.weights import read_weights
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.evaluation import read_test, validation_score
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.guardrails import StrictError, findings_after_epoch, findings_before
from layerlink.lab.run.learner import Learner
from layerlink.lab.run.meter import Meter
from layerlink.lab.run.resume import Position, save
from layerlink.lab.run.selection import is_kept
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.watch import Watch
from layerlink.measure.flops import count_parameters

CHECKPOINT_SECONDS = 600  # at the latest so long after the last one
SHARE_OF_TIME = 0.05  # that checkpoints at the ends of epochs may take


@dataclass
class Member:
    """A student of a cohort.

    Args:
        setup: what ``set_up`` made of its recipe.
        run: its folder.
        learner: student, optimiser and schedule.
        position: how far it is.
        best: the weights to keep so far, where they are not in the run's folder yet.
        failure: why it was dropped; None while it is in.
    """

    setup: Setup
    run: RunFolder
    learner: Learner
    position: Position
    best: dict[str, Any] | None = None
    failure: LayerlinkError | None = None


def begin(member: Member, watch: Watch) -> None:
    """Tell that a run begins, and what is odd about it."""
    if not member.position.rows and not member.position.step:
        remark(member, here().first_says(lambda: list(findings_before(member.setup))), watch)
    watch.begin(member.setup, member.run, member.position.epoch)


def remark(member: Member, findings: Iterable[str], watch: Watch) -> None:
    """Tell and write down what is odd.

    Raises:
        StrictError: where the recipe says ``strict: true``.
    """
    texts = list(findings)
    for text in texts:
        member.run.warn(text)
        watch.warn(text)
    if texts and member.setup.recipe.strict:
        raise StrictError(f"{'; '.join(texts)} (strict: true makes this an error)")


def finish_epoch(member: Member, watch: Watch) -> None:
    """Validate, write the epoch's row, keep the weights where they are the best so far, move on."""
    setup, run, learner, position = member.setup, member.run, member.learner, member.position
    learner.check_weights()
    score, task = validation_score(learner.model, setup), setup.task
    meter = position.meter
    row = {
        "epoch": position.epoch + 1,
        **meter.means(),
        **meter.score(task),
        f"validation_{task.score.name}": score,
        "lr": learner.lr,
        "images_per_second": meter.images / max(meter.seconds, 1e-9),
        "seconds": meter.seconds,
    }
    found = here().first_says(lambda: list(findings_after_epoch(setup, learner, meter, score)))
    remark(member, [f"epoch {position.epoch + 1}: {text}" for text in found], watch)
    position.rows.append(row)
    run.write_metrics(position.rows)
    best = position.best_score if position.best_epoch else None
    if is_kept(score, best, setup.recipe.training.keep, task.score):
        position.best_score, position.best_epoch = score, position.epoch + 1
        member.best = copy.deepcopy({name: _detached(value) for name, value in learner.model.state_dict().items()})
    position.epoch, position.step, position.meter = position.epoch + 1, 0, Meter()
    watch.epoch(run, row)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def finish(member: Member) -> dict[str, Any]:
    """Read the test images once, with the kept weights, and write student and result."""
    setup, run, learner, position = member.setup, member.run, member.learner, member.position
    weights = member.best
    if weights is None:
        weights = here().first_says(lambda: read_weights(run.best(position.best_epoch)))
    learner.model.load_state_dict(weights)
    result = {
        **read_test(learner.model, setup),
        f"validation_{setup.task.score.name}": position.best_score,
        "validation_images": len(setup.images.validation),
        "epoch": position.best_epoch,
        "epochs": setup.recipe.training.epochs,
        "train_images": len(setup.images.train),
        "parameters": count_parameters(learner.model),
        "train_seconds": sum(float(row["seconds"]) for row in position.rows),
        "seed": setup.recipe.seed,
        "task": setup.task.name,
        "score": setup.task.score.facts(),
        "first_losses": position.first_losses,
    }
    own = sum(parameter.numel() for parameter in learner.distiller.link_parameters())
    if own:
        result["link_parameters"] = own  # of adapters and trained losses, which are not in the student
    if learner.distiller.scales is not None:
        result["link_factors"] = learner.distiller.scales.factors
    run.write_weights(run.student, weights)
    run.write_result(result)
    run.remove_checkpoints()
    return result


class Saving:
    """Writes checkpoints, as often as they are worth their time: big students on a fast device make short epochs."""

    def __init__(self) -> None:
        self._saved, self._took = time.monotonic(), 0.0

    def overdue(self) -> bool:
        """Whether a checkpoint is due within an epoch."""
        return here().first and time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def worth_it(self) -> bool:
        """Whether one at the end of an epoch would take a small share of the time since the last."""
        return here().first and self._took <= SHARE_OF_TIME * (time.monotonic() - self._saved)

    def save(self, members: list[Member]) -> None:
        """Write every member's checkpoint, its best weights before it."""
        start = time.monotonic()
        for member in members:
            position = member.position
            if member.best is not None:
                member.run.write_weights(member.run.best(position.best_epoch), member.best)
                member.best = None
            save(member.run, member.learner, position)
        self._saved = time.monotonic()
        self._took = self._saved - start
