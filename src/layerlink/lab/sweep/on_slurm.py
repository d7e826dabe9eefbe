"""Jobs on a Slurm cluster, by submitit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerlink.errors import UsageError
from layerlink.files.inside import inside
from layerlink.lab.sweep.job import Part, work
from layerlink.optional import environment, need

DEFAULTS = {"name": "layerlink", "timeout_min": 24 * 60, "gpus_per_node": 1}


class Work:
    """What a job runs. At the end of its time Slurm starts it again, and it goes on from the last checkpoint."""

    def __call__(self, part: Part) -> str:
        """Do the part."""
        return work(part)

    def checkpoint(self, part: Part) -> Any:
        """What to submit again; the part's own checkpoints are in the runs' folders."""
        return need("submitit", "slurm", "sweep --on slurm").helpers.DelayedSubmission(self, part)


def _new_folder(folder: Path) -> Path:
    """A new folder below it: submitit unpickles what jobs leave there, so nobody may have put anything there before."""
    inside(folder, folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=folder))


class Slurm:
    """Every job is a Slurm job of its own.

    Args:
        folder: of scripts and logs, each time in a new one below it.
        options: submitit's ``update_parameters``: ``timeout_min`` (a day), ``gpus_per_node`` (1), ``cpus_per_task``,
            ``slurm_partition``, ...
        cluster: "local" and "debug" run jobs on this machine.

    Raises:
        UsageError: where this is no Slurm cluster, or for an option that submitit does not know.
        LayerlinkError: where submitit is not installed.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], *, cluster: str = "slurm") -> None:
        self._submitit: Any = need("submitit", "slurm", "sweep --on slurm")
        try:
            self._executor = self._submitit.AutoExecutor(folder=_new_folder(folder), cluster=cluster)
        except RuntimeError as error:
            raise UsageError(f"--on slurm: {error}") from error
        try:
            self._executor.update_parameters(**{**DEFAULTS, **options})
        except (NameError, TypeError, ValueError, AssertionError) as error:
            raise UsageError(f"--job: {error}") from error

    def submit(self, part: Part) -> Any:
        """Submit a job."""
        # What lies in the working folder is no module of the jobs that are submitted, which get this environment.
        with environment("PYTHONSAFEPATH", "1"):
            return self._executor.submit(Work(), part)

    def finished(self, jobs: Sequence[Any]) -> list[Any]:
        """The jobs that are over."""
        done = [job for job in jobs if job.done()]
        if not done:
            time.sleep(0.5)
        return done

    def failure(self, job: Any) -> str:
        """What the job says, or how it ended, and where its log is."""
        try:
            return str(job.result())
        except Exception as error:  # noqa: BLE001 - whatever the job raised, or that it gave nothing
            return f"{(str(error).strip().splitlines() or [type(error).__name__])[-1]}. Its log: {job.paths.stderr}"

    def cancel(self, jobs: Iterable[Any]) -> None:
        """Slurm sends SIGTERM, at which a training writes a checkpoint, and kills after its own time."""
        for job in jobs:
            job.cancel(check=False)
