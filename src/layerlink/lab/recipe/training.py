"""The `training` of a recipe: how the student is trained."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field, JsonValue, model_validator

from layerlink.lab.recipe.optimizers import problem_with, takes
from layerlink.lab.recipe.section import Section, Whole, YesNo


class TrainingSection(Section):
    """How the student is trained."""

    epochs: Whole = Field(25, ge=1, le=100_000, description="passes over the training images")
    batch_size: Whole = Field(128, ge=1, description="images a step, over all processes")
    accumulate: Whole = Field(
        1, ge=1, le=100_000, description="batches an update: their gradients are added up, each by what it counts"
    )
    optimizer: str = Field(
        "sgd", description="sgd, adamw or any other of torch.optim by its name in small letters, such as nadam"
    )
    optimizer_arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="what it takes beside lr and weight_decay, such as {betas: [0.9, 0.95]}"
    )
    lr: float = Field(0.004, gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    nesterov: YesNo = Field(False, description="Nesterov's momentum, of SGD")
    weight_decay: float = Field(0.0, ge=0, description="of all weights")
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = Field(
        "step", description="how the learning rate goes from lr to its end"
    )
    step_epochs: float = Field(10, gt=0, description="the step schedule multiplies by step_factor every so often")
    milestones: tuple[float, ...] = Field(
        (), description="the step schedule multiplies by step_factor at these epochs, in place of every step_epochs"
    )
    step_factor: float = Field(0.1, gt=0, le=1, description="what the step schedule multiplies by")
    warmup_epochs: float = Field(0, ge=0, description="learning rate rises linearly from 0 for so long")
    clip_norm: float | None = Field(None, gt=0, description="largest L2 norm of the whole gradient")
    link_lr: float | None = Field(None, gt=0, description="peak learning rate of adapters and trained losses; None: lr")
    link_weight_decay: float | None = Field(
        None, ge=0, description="of adapters and trained losses; None: weight_decay"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label that is spread over all classes")
    ema: float | None = Field(None, gt=0, lt=1, description="decay per step of averaged weights, which are kept")
    int8: YesNo = Field(
        False, description="the student's convolutions and linear layers round to 8 bits in training, as int8 files do"
    )
    keep: Literal["best", "last"] = Field(
        "best", description="epoch whose weights are kept, by the task's validation score"
    )

    @model_validator(mode="after")
    def _is_an_optimizer(self) -> TrainingSection:
        if problem := problem_with(self.optimizer, self.optimizer_arguments):
            raise ValueError(problem)
        if self.weight_decay and not takes(self.optimizer, "weight_decay"):
            raise ValueError(f"optimizer {self.optimizer} has no weight_decay; got {self.weight_decay:g}")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingSection:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be below epochs ({self.epochs})")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones are those of schedule step; schedule is {self.schedule}")
        if any(later <= earlier for earlier, later in itertools.pairwise((0.0, *self.milestones))):
            raise ValueError("milestones must be epochs > 0, each later than the one before")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer sgd and momentum > 0")
        return self
