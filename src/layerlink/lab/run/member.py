"""A student of a cohort: its beginning, its epochs, its checkpoints and its end."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from layerlink.errors import LayerlinkError
from layerlink.files.weights import read_weights
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.meter import Meter
from layerlink.lab.run.reading.evaluation import read_test, validation_score
from layerlink.lab.run.reading.guardrails import Finding, StrictError, findings_after_epoch, findings_before
from layerlink.lab.run.resume import Position, save
from layerlink.lab.run.selection import is_kept
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.watch import Watch
from layerlink.measure.flops import count_parameters
from layerlink.models.rounded import round_no_more

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
        best: the weights to keep so far, where they are not in the run's folder yet: the student's under the empty
            name, then its peers'.
        failure: why it was dropped; None while it is in.
        told: kinds of findings that were told already.
    """

    setup: Setup
    run: RunFolder
    learner: Learner
    position: Position
    best: dict[str, dict[str, Any]] | None = None
    failure: LayerlinkError | None = None
    told: set[str] = field(default_factory=set)

    @property
    def everyone(self) -> dict[str, Learner]:
        """The student, whose name is empty, and its peers."""
        return {"": self.learner, **self.learner.peers}


def begin(member: Member, watch: Watch) -> None:
    """Tell that a run begins, and what is odd about it."""
    if not member.position.rows and not member.position.step:
        texts = here().first_says(lambda: list(findings_before(member.setup)))
        remark(member, [Finding(text, text) for text in texts], watch)
    watch.begin(member.setup, member.run, member.position.epoch)


def remark(member: Member, findings: Sequence[Finding], watch: Watch) -> None:
    """Write down what is odd, and tell it where its kind was not told before.

    Raises:
        StrictError: where the recipe says ``strict: true``.
    """
    for finding in findings:
        member.run.warn(finding.text)
        if finding.kind not in member.told:
            watch.warn(finding.text, member.run)
        member.told.add(finding.kind)
    if findings and member.setup.recipe.strict:
        texts = "; ".join(finding.text for finding in findings)
        raise StrictError(f"{texts} (strict: true makes this an error)")


def finish_epoch(member: Member, watch: Watch) -> None:
    """Validate, write the epoch's row, keep the weights where they are the best so far, move on."""
    setup, run, learner, position = member.setup, member.run, member.learner, member.position
    position.read_losses()
    learner.check_weights()
    score, task = validation_score(learner.model, setup), setup.task
    meter = position.meter
    row = {
        "epoch": position.epoch + 1,
        **meter.means(),
        **meter.score(task),
        f"validation_{task.score.name}": score,
        **_peers_scores(learner, f"validation_{task.score.name}"),
        "lr": learner.lr,
        "images_per_second": meter.images / max(meter.seconds, 1e-9),
        "seconds": meter.seconds,
    }
    epoch = position.epoch + 1
    before = float(position.rows[-1][f"validation_{task.score.name}"]) if position.rows else None
    found = here().first_says(
        lambda: list(findings_after_epoch(setup, learner, meter, epochs=epoch, score=score, before=before))
    )
    remark(member, [replace(finding, text=f"epoch {epoch}: {finding.text}") for finding in found], watch)
    position.rows.append(row)
    run.write_metrics(position.rows)
    best = position.best_score if position.best_epoch else None
    if is_kept(score, best, setup.recipe.training.keep, task.score):
        position.best_score, position.best_epoch = score, position.epoch + 1
        member.best = {name: _copy_of(it.model) for name, it in member.everyone.items()}
    position.epoch, position.step, position.meter = position.epoch + 1, 0, Meter()
    watch.epoch(run, row)


def _peers_scores(learner: Learner, name: str) -> dict[str, float]:
    return {f"{peer}_{name}": validation_score(it.model, it.setup) for peer, it in learner.peers.items()}


def _copy_of(model: nn.Module) -> dict[str, Any]:
    state = model.state_dict()
    return copy.deepcopy({name: it.detach() if isinstance(it, Tensor) else it for name, it in state.items()})


def finish(member: Member) -> dict[str, Any]:
    """Read the test images once, with the kept weights, and write student, peers and result."""
    run, position, best = member.run, member.position, member.best
    if best is None:
        best = here().first_says(
            lambda: {it: read_weights(run.best(position.best_epoch, it)) for it in member.everyone}
        )
    for name, weights in best.items():
        member.everyone[name].model.load_state_dict(weights)
    for each in member.everyone.values():  # whoever gave a model goes on with it as it was
        round_no_more(each.distiller.student)
    result = _result(member)
    for name, weights in best.items():
        run.write_weights(run.peer(name) if name else run.student, weights)
    run.write_result(result)
    run.remove_checkpoints()
    return result


def _result(member: Member) -> dict[str, Any]:
    """What ``result.json`` says, of the models as they are now."""
    setup, learner, position = member.setup, member.learner, member.position
    score = f"validation_{setup.task.score.name}"
    result = {
        **read_test(learner.model, setup),
        score: position.best_score,
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
    if position.compiled:
        result["compiled"] = position.compiled
    if learner.peers:
        scores = _peers_scores(learner, score)
        result["peers"] = {
            name: {
                **read_test(it.model, it.setup),
                score: scores[f"{name}_{score}"],
                "parameters": count_parameters(it.model),
            }
            for name, it in learner.peers.items()
        }
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
            for name, weights in (member.best or {}).items():
                member.run.write_weights(member.run.best(position.best_epoch, name), weights)
            member.best = None
            save(member.run, member.learner, position)
        self._saved = time.monotonic()
        self._took = self._saved - start
