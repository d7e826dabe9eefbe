"""What an epoch gives, as means over the images that gave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.lab.parallel.processes import ALONE, Processes
from layerlink.tasks import Task
from layerlink.transfer import Losses


class Meter:
    """Means over the images of an epoch. Sums stay on the device until they are read."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.sums: dict[str, Tensor] = dict(state["sums"]) if state else {}
        self.lowest: dict[str, Tensor] = dict(state["lowest"]) if state else {}
        self.highest: dict[str, Tensor] = dict(state["highest"]) if state else {}
        self.weights: Mapping[str, float] = dict(state["weights"]) if state else {}  # of the last step
        self.images = int(state["images"]) if state else 0
        # Of every term, those of the steps in which it was: a layer may be left out, a link end inside an epoch.
        self.counts: dict[str, int] = dict(state["counts"]) if state and "counts" in state else {}
        self.steps = int(state["steps"]) if state else 0
        self.seconds = float(state["seconds"]) if state else 0.0
        self.tally: Tensor | None = state.get("tally") if state else None  # of the task's score
        if "correct" in self.sums:  # as checkpoints had it before there were tasks
            self.tally = torch.stack([self.sums.pop("correct").double(), torch.tensor(float(self.images)).double()])

    def add(
        self,
        losses: Losses,
        batch: Batch,
        seconds: float,
        task: Task,
        processes: Processes = ALONE,
    ) -> None:
        """Count one step. The losses are the whole batch's already, the logits those of this process's part."""
        count = batch.count
        terms = {name: term.detach().float() for name, term in losses.terms.items()}
        for name, term in terms.items():
            known = name in self.sums
            self.sums[name] = self.sums[name] + term * count if known else term * count
            self.lowest[name] = torch.minimum(self.lowest[name], term) if known else term
            self.highest[name] = torch.maximum(self.highest[name], term) if known else term
            self.counts[name] = self.counts.get(name, self.images if known else 0) + count
        tally = None if losses.logits is None else task.tally(losses.logits.detach(), batch.labels)
        if tally is not None:
            tally = processes.sum(tally * (not batch.stand_in) if processes.size > 1 else tally)
            self.tally = tally if self.tally is None else self.tally.to(tally.device) + tally
        self.weights = losses.weights
        self.images += count
        self.steps += 1
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """Every raw term's mean."""
        return {name: float(value) / self.counts.get(name, self.images) for name, value in self.sums.items()}

    def score(self, task: Task) -> dict[str, float]:
        """The task's score of the training batches, as ``train_SCORE``; nothing where it cannot be added up."""
        return {} if self.tally is None else {f"train_{task.score.name}": task.score_of(self.tally)}

    def spread(self, name: str) -> float:
        """A term's highest value of a step minus its lowest."""
        return float(self.highest[name]) - float(self.lowest[name])

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        tensors = {"sums": self.sums, "lowest": self.lowest, "highest": self.highest}
        on_cpu = {part: {name: value.cpu() for name, value in values.items()} for part, values in tensors.items()}
        numbers = {"images": self.images, "steps": self.steps, "seconds": self.seconds, "counts": self.counts}
        tally = None if self.tally is None else self.tally.cpu()
        return {**on_cpu, **numbers, "weights": dict(self.weights), "tally": tally}
