"""Weights & Biases: files in the run's folder, sent by `wandb sync` where they are not sent at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerlink.lab.track.tracker import TrackedRun
from layerlink.optional import need


class WandB:
    """Tells wandb, offline: ``arguments: {mode: online}`` sends at once.

    Args:
        run: to be told of. ``arguments`` are those of ``wandb.init``, such as ``entity``, ``tags`` and ``mode``.
    """

    def __init__(self, run: TrackedRun) -> None:
        wandb: Any = need("wandb", "wandb", "track: wandb")
        root = run.place("")
        root.mkdir(parents=True, exist_ok=True)
        given = {"mode": "offline", **run.section.arguments}
        self.known = run.known or run.id
        self._run: Any = wandb.init(
            project=run.project,
            name=run.name,
            id=self.known,
            dir=str(root),
            config=dict(run.recipe),
            resume="allow",
            reinit="create_new",  # students of a cohort are told of side by side
            settings=wandb.Settings(console="off", silent=True),
            **given,
        )

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """A row of the run's history, at the epoch as its step."""
        self._run.log(dict(values), step=epoch)

    def done(self, values: Mapping[str, float], epochs: int) -> None:
        """The test readings, in the run's summary."""
        self._run.summary.update(dict(values))

    def close(self, state: str) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if state == "finished" else 1)
