"""Maps of labels as pictures: image, truth, what the teacher and students answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from layerlink.data import Views
from layerlink.data.views import scaled
from layerlink.lab.report.figures.label_colours import IGNORED, label_colours
from layerlink.lab.report.page.stills import Still, Stills
from layerlink.lab.run.setup.setup import Setup

MOST_IMAGES = 4


@dataclass(frozen=True)
class MapsShown:
    """Some test images whose answers are maps.

    Args:
        places: of the images in the test set, (k,) int64.
        images: (k, C, H, W) uint8, as many pixels as models get.
        truth: (k, H, W) of labels.
        ignore: the label that does not count.
    """

    places: Tensor
    images: Tensor
    truth: Tensor
    ignore: int | None


def shown_maps(setup: Setup, answers: Tensor | None) -> MapsShown | None:
    """Test images, evenly from the whole set, where answers (N, H, W) are maps; None elsewhere."""
    test, views = setup.images.test, setup.images.views
    if answers is None or answers.ndim != 3 or test.labels.ndim != 3 or not isinstance(views, Views):
        return None
    count = min(MOST_IMAGES, len(test))
    places = (torch.arange(count) * len(test) + len(test) // 2) // count
    images = scaled(test.rows(places).float(), views.image_size).round().clamp(0, 255).to(torch.uint8)
    return MapsShown(places, images.cpu(), views.labels(test.labels[places]).cpu(), setup.task.ignore)


def stills_of(shown: MapsShown, answers: dict[str, Tensor], classes: tuple[str, ...]) -> Stills:
    """Image and truth beside what models answer.

    Args:
        shown: the images.
        answers: of each model, by its name, (k, H, W).
        classes: their names.
    """
    palette = np.array([*label_colours(len(classes)), IGNORED], dtype=np.uint8)
    maps = {"truth": shown.truth, **answers}
    rows = []
    for row, image in enumerate(shown.images):
        pixels = image.expand(3, -1, -1) if len(image) == 1 else image[:3]
        place = int(shown.places[row])
        stills = [Still(pixels.permute(1, 2, 0).contiguous().numpy(), f"test image {place}")]
        for name, labels in maps.items():
            numbers = labels[row].long().numpy()
            known = (numbers >= 0) & (numbers < len(classes))
            if shown.ignore is not None:
                known &= numbers != shown.ignore
            stills.append(Still(palette[np.where(known, numbers, len(classes))], f"{name} of test image {place}"))
        rows.append(tuple(stills))
    there = {int(label) for labels in maps.values() for label in np.unique(labels.numpy())}
    legend = [
        (colour, name)
        for n, (colour, name) in enumerate(zip(label_colours(len(classes)), classes, strict=True))
        if n in there
    ]
    if shown.ignore is not None and bool((shown.truth == shown.ignore).any()):
        legend.append((IGNORED, "ignored"))
    return Stills("maps", ("image", *maps), tuple(rows), tuple(legend))
