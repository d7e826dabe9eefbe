"""Factor transfer: what a paraphraser makes of the teacher's map, and a translator of the student's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.maps.ft import ft
from layerlink.losses.shapes import ShapeError, embedded, require_maps


class FactorTransfer(nn.Module):
    """``ft`` between the factors of both maps, once a paraphraser has learned to tell the teacher's by fewer channels.

    For the first share of the training the student learns nothing by it: the paraphraser, three convolutions to
    ``rate`` of the teacher's channels and three back, learns to give the teacher's map again, ``mean (r - f_t)^2``.
    After that it is left as it is, and a translator, three convolutions from the student's channels, is trained with
    the student. All are 3x3 with a leaky ReLU of slope 0.1.

    Args:
        student: shape (N, C, H, W) of the student's map.
        teacher: of the teacher's, (N, D, H', W').
        rate: channels of a factor per channel of the teacher, 0 < rate <= 1.
        first: share of the training that is the paraphraser's, 0..1; where nobody tells how far the training is,
            both are learned together.
        form: how factors are compared, see ``ft``.
        p: exponent of the difference, >= 1.

    ``forward`` gives a scalar, float32 or wider, >= 0; it is not 0 for equal maps.

    Source: Kim, Park & Kwak 2018 (arXiv 1802.04977), eq. 1 to 3 and figure 2.
    Differs: the paraphraser goes back by convolutions, the paper by transposed ones of stride 1, which are the same
        functions. "attention" compares the channels' mean energy, as the code that the published figures come from
        does, and the mean stands in place of the norm.
    Weight: 200; labels begin with it, after 30 of 270 epochs.
    When: the teacher's channels say the same thing more than once.
    Cost: paraphraser and translator, 9 D (D + r) + 27 r^2 + 9 C (C + r) weights and more, with r = rate D.
    """

    def __init__(
        self,
        student: Sequence[int],
        teacher: Sequence[int],
        *,
        rate: float = 0.5,
        first: float = 30 / 270,
        form: Literal["attention", "factor"] = "attention",
        p: float = 1.0,
    ) -> None:
        super().__init__()
        if len(student) != 4 or len(teacher) != 4 or not min(*student, *teacher):
            raise ShapeError(
                f"factor needs maps (N, C, H, W); student gives {tuple(student)}, teacher {tuple(teacher)}"
            )
        if not (0 < rate <= 1 and 0 <= first <= 1 and p >= 1) or form not in ("attention", "factor"):
            raise UsageError(
                "factor: rate must lie in 0 < rate <= 1, first in 0..1, p be >= 1, form 'attention' or 'factor'; got "
                f"{rate:g}, {first:g}, {p:g}, {form!r}"
            )
        own, other = student[1], teacher[1]
        factors = max(1, round(rate * other))
        self.first, self.form, self.p = first, form, p
        self.paraphraser = _layers(other, other, factors, factors)
        self.decoder = _layers(factors, factors, other, other)
        self.translator = _layers(own, own, factors, factors)

    def forward(self, student: Tensor, teacher: Tensor, *, progress: float | None = None) -> Tensor:
        """The loss of two maps with the shapes it was made for; any batch size."""
        teacher = teacher.detach()
        require_maps("factor", student, teacher)
        paraphrases = progress is None or progress < self.first
        with torch.set_grad_enabled(paraphrases and torch.is_grad_enabled()):
            factors = embedded(self.paraphraser, teacher)
            again = F.mse_loss(embedded(self.decoder, factors), teacher.to(factors.dtype)) if paraphrases else None
        if again is not None and progress is not None:
            return again
        loss = ft(embedded(self.translator, student), factors, form=self.form, p=self.p)
        return loss if again is None else loss + again


def _layers(*channels: int) -> nn.Sequential:
    """Convolutions 3x3 from each number of channels to the next, each with a leaky ReLU."""
    layers = ((nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(0.1)) for a, b in pairwise(channels))
    return nn.Sequential(*chain.from_iterable(layers))
