"""A student while it learns: one optimiser step, and everything that has to be kept to go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data import Batch
from layerlink.errors import LayerlinkError
from layerlink.lab.parallel.data_parallel import DataParallel
from layerlink.lab.parallel.processes import Processes, here
from layerlink.lab.run.learning.accumulation import Shares, UpdateShares, part_of_update
from layerlink.lab.run.learning.faults import Fault, Faults
from layerlink.lab.run.learning.memory import out_of_memory_explained
from layerlink.lab.run.learning.optimisation import (
    begin_late,
    build_ema,
    build_optimizer,
    build_schedule,
    parameter_groups,
)
from layerlink.lab.run.learning.scaling import GradientScale
from layerlink.lab.run.learning.step import losses_of, set_time, taught_for
from layerlink.lab.run.learning.update import Update
from layerlink.lab.run.setup.setup import Setup
from layerlink.models.rounded import round_in_training
from layerlink.taps import OUTPUT, Tap
from layerlink.taps.randomness import RandomState, kept
from layerlink.transfer import Activations, Losses
from layerlink.user_code import runs_a_model


class DroppedError(LayerlinkError):
    """A student is given up; others of its cohort go on."""


class NotFiniteError(DroppedError):
    """A loss or a weight became NaN or infinite.

    Args:
        text: what did, and what to change.
        fault: the step and its terms, where it was a loss.
    """

    def __init__(self, text: str, fault: Fault | None = None) -> None:
        super().__init__(text)
        self.fault = fault

    @property
    def place(self) -> tuple[int, int] | None:
        """The epoch and step, from 0, whose loss it was; None where that is not known."""
        return None if self.fault is None else (self.fault.epoch, self.fault.step)


class Learner:
    """Student, optimiser, schedule and averaged weights.

    Args:
        setup: what to train, and how.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.distiller = setup.distiller
        self.training = setup.recipe.training
        if self.training.int8:
            round_in_training(self.distiller.student)
        may_skip = setup.precision == "float16" and setup.device.type == "cuda"
        groups = parameter_groups(self.distiller, self.training)
        self.optimizer = build_optimizer(groups, self.training, may_skip=may_skip)
        self.faults = Faults()
        self._update = Update(self.optimizer)
        self.scale = GradientScale(setup.device) if setup.precision == "float16" else None
        if self.scale is not None and self.distiller.scales is not None:
            self.distiller.scales.loss_scale = self.scale.factor
        updates = -(-len(setup.batches) // self.training.accumulate)  # an epoch
        self.schedule = build_schedule(self.optimizer, self.training, updates)
        self.ema = build_ema(self.distiller.student, self.training)
        self.links_ema = build_ema(self.distiller.parts, self.training)
        self.lr = 0.0  # of the last step
        self.processes = here()
        self.random = RandomState.of(setup.recipe.seed + self.processes.rank)
        self.peers: dict[str, Learner] = {}  # that learn beside it
        self.shares = UpdateShares(self.distiller, self.processes)
        self.parallel: DataParallel | None = None
        if self.processes.size > 1:
            self.parallel = DataParallel(self.distiller, setup.images.sample, self.processes)

    @property
    def model(self) -> nn.Module:
        """The student as it would be used: with averaged weights where there are any."""
        return self.ema.module if self.ema is not None else self.distiller.student

    def start_epoch(self, epoch: int) -> None:
        """Get ready to learn: from here on, links that are over ask nothing of the teacher."""
        self.distiller.train()
        self.distiller.at(epoch, self.training.epochs)

    def study(self, batch: Batch, also: Iterable[Tap] = ()) -> Activations:
        """What the student gives for a batch, to be passed to ``step``; ``also`` are taps that peers ask for."""
        set_time(self.setup, batch)
        with self._at_work(batch), self.processes.talking():
            if self.parallel is not None:
                self.parallel.begin(batch)
            with self.setup.arithmetic():
                return self.distiller.study(batch.images, also)

    def step(self, batch: Batch, taught: Activations | None = None, studied: Activations | None = None) -> Losses:
        """Learn from one batch, without waiting for the device. Of batches that make one update the last makes it.

        Where a term is NaN or infinite, weights and the optimiser's state stay as they are, also in every step after
        that, until ``check_finite`` raises.

        Args:
            batch: images and labels; this process's part, where several train together.
            taught: the teacher's activations for them, where they are known already.
            studied: what ``study`` gave for them, where it was called.

        Returns:
            The losses of the whole batch; the logits are those of this process's part.
        """
        set_time(self.setup, batch)
        with self._at_work(batch), self.processes.talking():
            losses, total = self._losses(batch, taught, studied, self.shares.of(batch))
            factor = None if self.scale is None else self.scale.factor
            found = self.faults.note(losses, batch, taught, factor)
            _backward(total if factor is None else total * factor)
        if not batch.ends_update:
            return losses
        self.lr = float(self.schedule.get_last_lr()[0])
        self.update(found)
        self.optimizer.zero_grad()
        self.schedule.step()
        self.distiller.after_step()
        if self.ema is not None:
            self.ema.update_parameters(self.distiller.student)
        if self.links_ema is not None:
            self.links_ema.update_parameters(self.distiller.parts)
        return losses

    def update(self, found: Tensor | None = None) -> None:
        """Change the weights by the gradients that are there, clipped as the recipe says; not where ``found`` is 1.

        In float16 the gradients are those of the scaled loss; where they overflow they change nothing either.
        """
        if self.scale is not None:
            overflown = self.scale.unscale(self.distiller.trainable_parameters())
            found = overflown if found is None else torch.maximum(found, overflown)
        if self.training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.distiller.trainable_parameters(), self.training.clip_norm)
        begin_late(self.optimizer, may_skip=self.scale is not None)
        self._update.step(found)

    def rehearse(self, batch: Batch, taught: Activations | None = None) -> Losses:
        """The losses of a step, and where their sum is finite its gradients. No parameter is changed."""
        set_time(self.setup, batch)
        with self._at_work(batch):
            losses = losses_of(self.setup, batch, taught)
            if bool(losses.total.detach().isfinite()):
                _backward(losses.total)
        return losses

    def _losses(
        self, batch: Batch, taught: Activations | None, studied: Activations | None, shares: Shares
    ) -> tuple[Losses, Tensor]:
        """The losses of a batch, and what of its update's loss it is."""
        if self.parallel is None:
            losses = losses_of(self.setup, batch, taught, studied)
            return losses, part_of_update(self.distiller, losses, shares)
        with self.setup.arithmetic():
            losses = self.parallel.losses(batch, taught, studied, partial(part_of_update, shares=shares))
        return losses, losses.total

    @contextmanager
    def _at_work(self, batch: Batch) -> Iterator[None]:
        """What a model draws follows from its recipe's seed, not from other students or what came before."""
        with kept(), out_of_memory_explained(len(batch.labels), self.setup.images.train.noun):
            self.random.set()
            yield
            self.random = RandomState.now()

    def check_finite(self) -> None:
        """Raise ``NotFiniteError`` for the first step since the last look whose loss was NaN or infinite.

        It names the terms, the step, and whose values overflowed. This waits for the device.
        """
        fault = self.faults.look()
        if fault is not None:
            fault = replace(fault, whose=(*fault.whose, *self._layers_to_blame(fault)))
            raise NotFiniteError(f"{fault}{_remedy()}", fault)

    def _layers_to_blame(self, fault: Fault) -> list[str]:
        """The teacher's layers that are not finite in a faulty step: it is asked again, since nobody looked then."""
        inner = [tap for tap in self.distiller.whole_objective.of_teacher if replace(tap, of="") != OUTPUT]
        if self.setup.taught_by is None or not inner:
            return []
        taught = taught_for(self.setup.taught_by, [self.setup], next(self.setup.batches.epoch(fault.epoch, fault.step)))
        values = {} if taught is None else {tap: taught.values[tap] for tap in inner if tap in taught.values}
        return [f"the teacher's {tap}" for tap, value in values.items() if not bool(value.isfinite().all())]

    def check_weights(self) -> None:
        """Raise ``NotFiniteError`` where a weight or buffer is NaN or infinite."""
        states = [self.distiller.state_dict(), {} if self.ema is None else self.ema.state_dict()]
        values = {
            name: value
            for state in states
            for name, value in state.items()
            if isinstance(value, Tensor) and value.is_floating_point()
        }
        finite = [value.isfinite().all().to(self.setup.device) for value in values.values()]
        for name, good in zip(values, torch.stack(finite).tolist() if finite else [], strict=True):
            if not good:
                raise NotFiniteError(f"weights of {name} became NaN or infinite{_remedy()}")

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on.

        Raises:
            NotFiniteError: where a weight is NaN or infinite: such a state is not worth going on from.
        """
        self.check_weights()
        return self.unchecked_state()

    def unchecked_state(self) -> dict[str, Any]:
        """As ``state_dict``, also where weights are NaN or infinite."""
        return {
            "student": self.distiller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict()["last_epoch"],
            "ema": None if self.ema is None else self.ema.state_dict(),
            "random": self.random.plain(),
            **({} if self.links_ema is None else {"links_ema": self.links_ema.state_dict()}),
            **({} if self.scale is None else {"scale": self.scale.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self.distiller.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]
        factor = self.schedule.lr_lambdas[0](state["schedule"])
        self.schedule._last_lr = [base * factor for base in self.schedule.base_lrs]
        for group, lr in zip(self.optimizer.param_groups, self.schedule._last_lr, strict=True):
            group["lr"] = lr  # by this recipe's number of epochs, which may be another one than before
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        if self.links_ema is not None and "links_ema" in state:
            self.links_ema.load_state_dict(state["links_ema"])
        if self.scale is not None and "scale" in state:
            self.scale.load_state_dict(state["scale"])
        known = RandomState.of_plain(state["random"])
        self.random = known if self.processes.first else _other_random_state(known, self.processes)


@runs_a_model
def _backward(total: Tensor) -> None:
    total.backward()  # type: ignore[no-untyped-call]


def _other_random_state(state: RandomState, processes: Processes) -> RandomState:
    """What follows from the first process's state for this one: checkpoints hold only that."""
    with kept():
        torch.set_rng_state(state.torch[0])
        return RandomState.of(int(torch.randint(1 << 31, ())) + processes.rank)


def _remedy() -> str:
    return (
        ". Checkpoints of earlier epochs are as they were. Start again (--out FOLDER) with a lower training.lr or "
        "links' weights, training.clip_norm=5, or precision=float32"
    )
