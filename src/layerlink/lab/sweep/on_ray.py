"""Jobs on a Ray cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from layerlink.errors import UsageError
from layerlink.lab.sweep.job import Part, work
from layerlink.optional import need

SECONDS_TO_STOP = 60  # for a checkpoint; then a job is killed


class Ray:
    """Every job is a task. One that dies with its machine is started again by Ray, elsewhere, and goes on.

    Args:
        options: of a task, as in ``ray.remote``: ``num_cpus``, ``num_gpus``, ... By default one GPU where the cluster
            has any, and one CPU.

    Raises:
        UsageError: where there is no cluster, or for an option that Ray does not know.
        LayerlinkError: where Ray is not installed.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._ray: Any = need("ray", "ray", "sweep --on ray")
        try:
            if not self._ray.is_initialized():
                address = os.environ.get("RAY_ADDRESS", "auto")
                self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"no Ray cluster answers: {error}. Start one (ray start --head) or set RAY_ADDRESS"
            ) from error
        gpus = {"num_gpus": 1} if self._ray.cluster_resources().get("GPU") else {}
        try:
            self._task = self._ray.remote(work).options(**{**gpus, **options})
        except (ValueError, TypeError) as error:
            raise UsageError(f"--job: {error}") from error

    def submit(self, part: Part) -> Any:
        """Start a task."""
        return self._task.remote(part)

    def finished(self, jobs: Sequence[Any]) -> list[Any]:
        """The tasks that are over."""
        done, _ = self._ray.wait(list(jobs), num_returns=1, timeout=1)
        return list(done)

    def failure(self, job: Any) -> str:
        """What the task says, or how its process ended."""
        try:
            return str(self._ray.get(job))
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {(str(error).strip().splitlines() or [type(error).__name__])[-1]}"

    def cancel(self, jobs: Iterable[Any]) -> None:
        """As Ctrl-C, then by force."""
        left = list(jobs)
        for job in left:
            self._ray.cancel(job)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while left and time.monotonic() < deadline:
            _, left = self._ray.wait(left, num_returns=len(left), timeout=1)
        for job in left:
            self._ray.cancel(job, force=True)
