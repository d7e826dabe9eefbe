"""MLflow: a database and artifacts, read by `mlflow ui`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from layerlink.lab.track.tracker import TrackedRun, flat, safe_names
from layerlink.optional import environment, need

MOST_LETTERS = 6000  # of a parameter's value
MOST_AT_ONCE = 100  # parameters
_POOL = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"
_STATES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class MLflow:
    """Tells MLflow's server, or a database: ``root/mlflow.db``, in the run's folder by default.

    Args:
        run: to be told of. ``arguments``: ``uri`` of a server in place of the database.
    """

    def __init__(self, run: TrackedRun) -> None:
        mlflow: Any = need("mlflow", "mlflow", "track: mlflow")
        logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # it tells of every table that it makes
        root = run.place("mlflow").resolve()
        uri = run.section.arguments.get("uri")
        if uri is None:
            root.mkdir(parents=True, exist_ok=True)
        # MLflow keeps the connections of every database that it has known as long as the process lives: a sweep has one
        # a run, and would run out of open files. Without a pool each is closed after its use.
        with nullcontext() if uri or _POOL in os.environ else environment(_POOL, "NullPool"):
            self._client: Any = mlflow.MlflowClient(tracking_uri=str(uri or f"sqlite:///{root / 'mlflow.db'}"))
        if run.known:
            self.known = run.known
            self._client.update_run(run.known, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(run.project)
        place = {} if uri else {"artifact_location": (root / "artifacts").as_uri()}
        experiment = found.experiment_id if found else self._client.create_experiment(run.project, **place)
        self.known = str(self._client.create_run(experiment, run_name=run.name).info.run_id)
        params = [mlflow.entities.Param(key, value[:MOST_LETTERS]) for key, value in _params(run).items()]
        for first in range(0, len(params), MOST_AT_ONCE):
            self._client.log_batch(self.known, params=params[first : first + MOST_AT_ONCE])
        self._client.log_text(self.known, run.text, "recipe.yaml")

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Metrics at the epoch."""
        for name, value in safe_names(values).items():
            self._client.log_metric(self.known, name, value, step=epoch)

    def done(self, values: Mapping[str, float], epochs: int) -> None:
        """The test readings, as metrics."""
        self.log(values, epochs)

    def close(self, state: str) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self.known, status=_STATES[state])


def _params(run: TrackedRun) -> dict[str, str]:
    named = flat(run.recipe)
    safe = safe_names(dict.fromkeys(named, 0.0))
    return dict(zip(safe, named.values(), strict=True))
