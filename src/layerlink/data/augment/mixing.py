"""Two images in one view: mixup and cutmix. The other image follows from (seed, epoch, image), not from the batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerlink.data.augment.draws import uniform, uniform_on_host

_STEPS = 8192  # of the table of a distribution


@dataclass(frozen=True)
class Mixed:
    """How images of a batch are mixed with others.

    Args:
        partner: (N,) int64, the other image's place in the data set.
        own: (N,) float64, the share of the image itself, where the two are added up; 1 where a box is pasted.
        box: (N, 4) float64, top, left, bottom and right of what is pasted from the other, in parts of the view.
        share: (N,) float64, of the label of the image itself.
    """

    partner: Tensor
    own: Tensor
    box: Tensor
    share: Tensor


@dataclass(frozen=True)
class Mixing:
    """Mixes every image of an epoch with another one.

    Args:
        mixup: both parameters of the Beta distribution that the share is drawn from, > 0; None: no mixup.
        cutmix: the same of the share of the area. With both every image draws which.

    Source: Zhang et al. 2018 (arXiv 1710.09412), eq. 1; Yun et al. 2019 (1905.04899), eq. 1 and 2.
    Differs: the other image is drawn from the data set, and the share for every image, so that a view does not depend
    on the batch that it is in.
    """

    mixup: float | None = None
    cutmix: float | None = None

    def drawn(self, indices: Tensor, seed: int, epoch: int, count: int, size: tuple[int, int]) -> Mixed:
        """What is mixed with what.

        Args:
            indices: (N,) int64, of images.
            seed: of the views.
            epoch: from 0.
            count: of images in the data set.
            size: height and width of the views, whose pixels shares are counted in.
        """
        partner = uniform(indices, seed, epoch, "partner", 0, count).long().clamp_max(count - 1)
        drawn, which = uniform(indices, seed, epoch, "share"), uniform(indices, seed, epoch, "which") < 0.5
        pasted = torch.full_like(which, self.mixup is None) if self.mixup is None or self.cutmix is None else which
        none = torch.ones_like(drawn)
        added = none if self.mixup is None else torch.where(pasted, none, _beta(drawn, self.mixup))
        area = none if self.cutmix is None else torch.where(pasted, _beta(drawn, self.cutmix), none)
        half = (1 - area).sqrt() / 2
        ends = []
        for purpose in ("box top", "box left"):
            middle = uniform(indices, seed, epoch, purpose)
            ends += [(middle - half).clamp(0, 1), (middle + half).clamp(0, 1)]
        box = torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1)
        pixels = _inside(box, size).double().mean((1, 2))
        return Mixed(partner, added, box, torch.where(pasted, 1 - pixels, added))


def partners(places: NDArray[np.int64], seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The other images' places, of images that the host knows."""
    drawn = uniform_on_host(places, seed, epoch, "partner", 0, count).astype(np.int64)
    return np.minimum(drawn, count - 1)


def mixed_images(views: Tensor, others: Tensor, how: Mixed) -> Tensor:
    """Views (N, C, H, W) float32, and the others', as one."""
    share = how.own.float().view(-1, 1, 1, 1)
    added = share * views + (1 - share) * others
    inside = _inside(how.box, (views.shape[-2], views.shape[-1]))[:, None]
    return torch.where(inside, others, added).contiguous(memory_format=torch.channels_last)


def mixed_labels(labels: Tensor, others: Tensor, how: Mixed, classes: int) -> Tensor:
    """Classes (N,) as probabilities (N, C) float32; of maps (N, H, W) the box is the other's."""
    if labels.ndim == 3:
        return torch.where(_inside(how.box, (labels.shape[1], labels.shape[2])), others, labels)
    share = how.share[:, None]
    every = torch.arange(classes, device=labels.device)  # one_hot would read the labels
    return (share * (labels[:, None] == every) + (1 - share) * (others[:, None] == every)).float()


def _inside(box: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels of a view whose middle is in the box: (N, H, W) bool."""
    within = []
    for axis, side in enumerate(size):
        middles = (torch.arange(side, device=box.device, dtype=torch.float64) + 0.5) / side
        low, high = box[:, axis, None], box[:, axis + 2, None]
        within.append((middles >= low) & (middles < high))
    return within[0][:, :, None] & within[1][:, None, :]


def _beta(uniforms: Tensor, alpha: float) -> Tensor:
    """Numbers of the Beta distribution with both parameters ``alpha``, from uniform ones by its inverse."""
    table = _table_on(alpha, uniforms.device)
    folded = 2 * torch.minimum(uniforms, 1 - uniforms)  # it is symmetric
    place = torch.searchsorted(table, folded).clamp(1, _STEPS)
    low, high = table[place - 1], table[place]
    at = (place - 1 + (folded - low) / (high - low).clamp_min(1e-300)) / _STEPS
    lower = 0.5 * at ** (1 / min(alpha, 1.0))
    return torch.where(uniforms < 0.5, lower, 1 - lower)


@lru_cache(maxsize=16)
def _table_on(alpha: float, device: torch.device) -> Tensor:
    return torch.from_numpy(_table(alpha)).to(device)


@lru_cache(maxsize=16)
def _table(alpha: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The distribution below 1/2, from 0 to 1, at equal steps of u = (2 x)^min(alpha, 1)."""
    steps, power = np.arange(_STEPS * 4 + 1) / (_STEPS * 4), min(alpha, 1.0)
    density = steps ** (alpha / power - 1) * (1 - 0.5 * steps ** (1 / power)) ** (alpha - 1)
    # Simpson's rule over pairs of quarters of a step.
    area = (density[:-2:2] + 4 * density[1:-1:2] + density[2::2]) / 6
    total = np.concatenate([[0.0], area.cumsum()])[::2]
    table: np.ndarray[tuple[int], np.dtype[np.float64]] = total / total[-1]
    return table
