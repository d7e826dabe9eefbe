"""A student that fails: its run is given up with a reason, and those beside it go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from layerlink.errors import LayerlinkError
from layerlink.lab.run.learner import DroppedError
from layerlink.user_code import told


class StudentError(DroppedError):
    """A student's model, or a loss of the user's own, raised an error."""


@contextmanager
def failing_alone(doing: str) -> Iterator[None]:
    """Turn what a model raises into the failure of its run.

    Args:
        doing: such as "epoch 1, step 3".

    Raises:
        StudentError: in its place; errors of layerlink's own pass.
    """
    try:
        yield
    except LayerlinkError:
        raise
    except Exception as error:
        raise StudentError(f"{doing}: {told(error)}") from error
