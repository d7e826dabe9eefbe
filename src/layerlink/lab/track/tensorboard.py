"""TensorBoard: event files, read by `tensorboard --logdir RUNS`."""

from __future__ import annotations

from collections.abc import Mapping

from layerlink.lab.track.tracker import TrackedRun
from layerlink.optional import need


class TensorBoard:
    """Writes scalars and the recipe into ``RUN/tensorboard``, or below ``root`` into a folder of the run's name.

    Args:
        run: to be told of. ``arguments`` are those of ``torch.utils.tensorboard.SummaryWriter``.
    """

    def __init__(self, run: TrackedRun) -> None:
        need("tensorboard", "tensorboard", "track: tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" if run.section.root is None else run.section.root / run.name
        self.known = str(folder)
        # What an earlier start wrote of epochs that are made again is no longer shown.
        purged = {"purge_step": run.epoch + 1} if run.known else {}
        self._writer = SummaryWriter(folder, **{**purged, **run.section.arguments})
        if not run.known:
            self._writer.add_text("recipe", f"```yaml\n{run.text}```", 0)

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Scalars at the epoch, on the disk when this returns."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def done(self, values: Mapping[str, float], epochs: int) -> None:
        """The test readings, as scalars."""
        self.log(values, epochs)

    def close(self, state: str) -> None:
        """Close the file."""
        self._writer.close()
