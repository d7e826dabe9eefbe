"""What a finished run's student answers."""

from __future__ import annotations

from torch import Tensor

from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import read_images, set_up_again


def answers_to_the_test(run: RunFolder) -> Tensor:
    """To the test images of its recipe, such as classes (N,) int64."""
    setup = set_up_again(run)
    found = read_images(setup.student, setup).answers
    assert found is not None
    return found
