"""trackio: a local database, read by `trackio show`."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from layerlink.lab.track.tracker import TrackedRun
from layerlink.optional import need


class Trackio:
    """Tells trackio, where it keeps everything by itself (``TRACKIO_DIR``), or in ``root``.

    Args:
        run: to be told of. ``arguments`` are those of ``trackio.init``, such as ``space_id`` and ``group``.
    """

    def __init__(self, run: TrackedRun) -> None:
        if run.section.root is not None:  # read when it is imported, and once for the process
            os.environ["TRACKIO_DIR"] = str(run.section.root.resolve())
        trackio: Any = need("trackio", "trackio", "track: trackio")
        quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        self.known = run.known or f"{run.name}-{run.id}"  # it knows runs by their names
        with redirect_stdout(io.StringIO()):
            self._run: Any = trackio.init(
                project=run.project,
                name=self.known,
                config=dict(run.recipe),
                resume="allow",
                **{**quiet, **run.section.arguments},
            )

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """A row of the run, at the epoch as its step."""
        self._run.log(dict(values), step=epoch)

    def done(self, values: Mapping[str, float], epochs: int) -> None:
        """The test readings, in a row of their own."""
        self.log(values, epochs)

    def close(self, state: str) -> None:
        """Wait until all is written."""
        with redirect_stdout(io.StringIO()):
            self._run.finish()
