"""Optimisers, learning-rate schedules and averaged weights, as a recipe's training section asks for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from layerlink.lab.recipe.optimizers import OPTIMIZERS, as_values, takes
from layerlink.lab.recipe.training import TrainingSection
from layerlink.lab.run.learning.average import Average
from layerlink.transfer import Distiller

ONE_CYCLE_RISE = 0.3  # share of the training in which the learning rate rises (Smith & Topin 2017, arXiv 1708.07120)
ONE_CYCLE_START = 1 / 25  # of the peak
ONE_CYCLE_END = 1e-4  # of the peak


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    training: TrainingSection,
    *,
    may_skip: bool = False,
) -> torch.optim.Optimizer:
    """The optimiser over ``parameters``, or over groups of them.

    Args:
        parameters: to be trained.
        training: says which.
        may_skip: steps may be left out on the device, so everything is to be counted there.
    """
    name = training.optimizer
    given = {"lr": training.lr, **as_values(training.optimizer_arguments)}
    if name == "sgd":
        given |= {"momentum": training.momentum, "nesterov": training.nesterov}
    if takes(name, "weight_decay"):
        given["weight_decay"] = training.weight_decay
    groups: list[Any] = list(parameters)
    every = (it for group in groups for it in (group["params"] if isinstance(group, dict) else [group]))
    if takes(name, "fused") and fuses(name, next((it.device.type for it in every), "cpu")):
        given["fused"] = True
    elif may_skip and takes(name, "capturable"):
        given["capturable"] = True
    return OPTIMIZERS[name](groups, **given)


@cache
def fuses(name: str, device: str) -> bool:
    """Whether an optimiser's fused step runs on a kind of device: torch refuses some only as they step."""
    tried = nn.Parameter(torch.zeros(1, device=device))
    tried.grad = torch.zeros_like(tried)
    try:
        OPTIMIZERS[name]([tried], lr=0.1, fused=True).step()
    except RuntimeError:
        return False
    return True


def begin_late(optimizer: torch.optim.Optimizer, *, may_skip: bool = False) -> None:
    """Give momentum to parameters that get their first gradient after others did, as those of a link that begins later.

    torch's fused SGD wants it of all or of none. 0 is where it begins: the first step is the same. Where the device may
    leave out the very first step, all begin so: torch would go on from memory that nobody has written.
    """
    for group in optimizer.param_groups:
        if not group.get("momentum") or not (optimizer.state or may_skip):
            continue
        for parameter in group["params"]:
            state = optimizer.state[parameter] if parameter.grad is not None else {}
            if parameter.grad is not None and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def parameter_groups(distiller: Distiller, training: TrainingSection) -> list[dict[str, Any]]:
    """All that a distiller trains: one group; where links are trained otherwise than the student, one each."""
    own = list(distiller.link_parameters())
    other = {"lr": training.link_lr, "weight_decay": training.link_weight_decay}
    other = {name: value for name, value in other.items() if value is not None}
    everything = list(distiller.trainable_parameters())
    if not own or not other:
        return [{"params": everything}]
    links = {id(parameter) for parameter in own}
    return [{"params": [parameter for parameter in everything if id(parameter) not in links]}, {"params": own, **other}]


def build_schedule(optimizer: torch.optim.Optimizer, training: TrainingSection, steps_per_epoch: int) -> LambdaLR:
    """The schedule, to be advanced once a step."""
    return LambdaLR(optimizer, lambda step: lr_factor(step / steps_per_epoch, training))


def build_ema(module: nn.Module, training: TrainingSection) -> Average | None:
    """Exponentially averaged weights and buffers, where the recipe asks for them and there are any."""
    if training.ema is None or not any(True for _ in module.parameters()):
        return None
    return Average(module, training.ema)


def lr_factor(time: float, training: TrainingSection) -> float:
    """What the peak learning rate is multiplied by.

    Args:
        time: in epochs since the start, 0 <= time <= epochs.
        training: schedule, its numbers and the warm-up.

    Returns:
        In 0..1. Warm-up: linear from 0, and the schedule's own time begins after it, except for the steps and
        milestones of "step", which are counted from the start as the study does.
    """
    warmup = training.warmup_epochs
    if time < warmup:
        return time / warmup
    progress = min((time - warmup) / (training.epochs - warmup), 1.0)
    if training.milestones:
        return training.step_factor ** sum(time >= milestone - 1e-9 for milestone in training.milestones)
    if training.schedule == "step":
        # The small number keeps rounding of step / steps_per_epoch from delaying a drop by one step.
        return training.step_factor ** math.floor(time / training.step_epochs + 1e-9)
    if training.schedule == "cosine":
        return _cosine(1.0, 0.0, progress)
    if training.schedule == "one-cycle":
        if progress < ONE_CYCLE_RISE:
            return _cosine(ONE_CYCLE_START, 1.0, progress / ONE_CYCLE_RISE)
        return _cosine(1.0, ONE_CYCLE_END, (progress - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))
    return 1.0


def had_highest_lr(time: float, training: TrainingSection) -> bool:
    """Whether the learning rate has reached its highest value.

    Args:
        time: in epochs since the start.
        training: schedule and warm-up.

    >>> from layerlink.lab.recipe.training import TrainingSection
    >>> risen = TrainingSection(epochs=10, schedule="one-cycle")
    >>> had_highest_lr(2, risen), had_highest_lr(3, risen)
    (False, True)
    """
    rise = 0.0
    if training.schedule == "one-cycle" and not training.milestones:
        rise = ONE_CYCLE_RISE * (training.epochs - training.warmup_epochs)
    return time >= training.warmup_epochs + rise - 1e-9


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
