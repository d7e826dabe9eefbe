"""The trackers by name."""

from __future__ import annotations

from collections.abc import Callable

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
