"""The trackers by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable

from layerlink.lab.track.mlflow import MLflow
from layerlink.lab.track.tensorboard import TensorBoard
from layerlink.lab.track.tracker import TrackedRun, Tracker
from layerlink.lab.track.trackio import Trackio
from layerlink.lab.track.wandb import WandB

STARTS: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
    "trackio": Trackio,
}


def missing(names: Iterable[str]) -> list[str]:
    """Of every tracker whose package is not installed, what that means: a run would only warn, and go on."""
    return [
        f"track: {name} is not installed, and would be told nothing. Install it: pip install 'layerlink[{name}]'"
        for name in names
        if importlib.util.find_spec(name) is None
    ]
