"""Students that learn from each other (mutual learning): one unit, which trains, stops and ends together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from layerlink.data import Batch
from layerlink.lab.recipe.peers import STUDENT
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import set_time
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps import Activations, Tap
from layerlink.teachers import SeveralTeachers
from layerlink.transfer import Losses


def learner_of(setup: Setup) -> Learner:
    """What trains the setup's student, and its peers where it has some."""
    return MutualLearner(setup) if setup.peers else Learner(setup)


class MutualLearner(Learner):
    """A student and its peers. At every step each runs once, in training mode; then each learns from the labels and
    from what all others gave in that pass.

    Args:
        setup: of the student, with ``peers``.

    Source: Zhang et al. 2018 (arXiv 1706.00384), eq. 5 and 8. Differs: all learn from the same predictions, where their
    algorithm 1 renews them between the updates of a step.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.peers = {name: Learner(peer) for name, peer in setup.peers.items()}
        for peer in self.peers.values():
            peer.faults = self.faults  # all stop together

    def start_epoch(self, epoch: int) -> None:
        """Get ready to learn."""
        super().start_epoch(epoch)
        for peer in self.peers.values():
            peer.start_epoch(epoch)

    def step(self, batch: Batch, taught: Activations | None = None, studied: Activations | None = None) -> Losses:
        """Let all learn from one batch; the student's losses."""
        everyone = {STUDENT: self, **self.peers}
        asked: dict[str, list[Tap]] = {name: [] for name in everyone}
        for name, learner in everyone.items():
            set_time(learner.setup, batch)
            alone = next(other for other in everyone if other != name)  # taps of one teacher name nobody
            for tap in learner.distiller.wanted:
                asked[tap.of or alone].append(replace(tap, of=""))
        # A student may work in place on what it gets, and the others need it.
        gave = {name: learner.study(batch.copied(), asked[name]) for name, learner in everyone.items()}
        losses = super().step(batch, _taught(self, STUDENT, gave), gave[STUDENT])
        for name, peer in self.peers.items():
            peer.step(batch, _taught(peer, name, gave), gave[name])
        return losses

    def check_weights(self) -> None:
        """Raise ``NotFiniteError`` where a weight of any is NaN or infinite."""
        super().check_weights()
        for peer in self.peers.values():
            peer.check_weights()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, of all."""
        return {**super().state_dict(), "peers": {name: peer.state_dict() for name, peer in self.peers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        super().load_state_dict(state)
        for name, peer in self.peers.items():
            peer.load_state_dict(state["peers"][name])


def _taught(learner: Learner, name: str, gave: Mapping[str, Activations]) -> Activations | None:
    """What all others gave, as the learner asks for it."""
    others = {other: _Gave(it.detached()) for other, it in gave.items() if other != name}
    wanted = learner.distiller.wanted
    if not wanted:
        return None
    teacher = SeveralTeachers(others) if len(others) > 1 else next(iter(others.values()))
    return teacher(None, wanted)


@dataclass(frozen=True)
class _Gave:
    """A teacher that says what was read of it already."""

    activations: Activations

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """All that was read."""
        return self.activations

    def models(self) -> tuple[nn.Module, ...]:
        """None: it is not run."""
        return ()
