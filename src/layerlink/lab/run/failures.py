"""A student that fails: its run is given up with a reason, and those beside it go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from layerlink.errors import LayerlinkError
from layerlink.lab.run.learning.learner import DroppedError
from layerlink.user_code import place_in_user_code, told, whose


class StudentError(DroppedError):
    """A student's step or reading raised an error that is none of layerlink's own sentences."""


@contextmanager
def failing_alone(doing: str) -> Iterator[None]:
    """Turn an error that nobody foresaw into the failure of its run, and say whose it is.

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
        text = told(error) if place_in_user_code(error) else f"{told(error)}. {whose(error)}"
        raise StudentError(f"{doing}: {text}") from error
