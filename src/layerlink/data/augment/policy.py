"""A RandAugment-like policy: of fourteen operations some for every view, all of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.data.augment import colour
from layerlink.data.copies import to_device

STRONGEST = 10  # of strengths
MOST_OPERATIONS = 8
_TURN, _SHEAR, _MOVE = math.radians(30), 0.3, 0.45  # at the strongest: an angle, a slope, a part of a side
_CHANGE = 0.9  # of a factor of 1

# Each takes images (n, C, H, W) of 0..255, its strength 0..1 and signs (n,) of +1 or -1.
Operation = Callable[[Tensor, float, Tensor], Tensor]


COLOURS: dict[str, Operation] = {
    "identity": lambda images, strength, sign: images,
    "autocontrast": lambda images, strength, sign: colour.autocontrast(images),
    "equalize": lambda images, strength, sign: colour.equalize(images),
    "solarize": lambda images, strength, sign: colour.solarize(images, 256 - 256 * strength * sign.abs()),
    "posterize": lambda images, strength, sign: colour.posterize(images, 8 - 4 * strength * sign.abs()),
    "saturation": lambda images, strength, sign: colour.saturation(images, 1 + _CHANGE * strength * sign),
    "contrast": lambda images, strength, sign: colour.contrast(images, 1 + _CHANGE * strength * sign),
    "brightness": lambda images, strength, sign: colour.brightness(images, 1 + _CHANGE * strength * sign),
    "sharpness": lambda images, strength, sign: colour.sharpness(images, 1 + _CHANGE * strength * sign),
}


def _rows(*values: Tensor) -> Tensor:
    return torch.stack(values, dim=1).view(-1, 2, 3)


def _turned(strength: float, sign: Tensor, ratio: float) -> Tensor:
    angle, none = _TURN * strength * sign, torch.zeros_like(sign)
    return _rows(angle.cos(), -angle.sin() / ratio, none, angle.sin() * ratio, angle.cos(), none)


MOVES: dict[str, Callable[[float, Tensor, float], Tensor]] = {
    "rotate": _turned,
    "shear-x": lambda s, sign, ratio: _rows(
        sign.abs(), _SHEAR * s * sign / ratio, 0 * sign, 0 * sign, sign.abs(), 0 * sign
    ),
    "shear-y": lambda s, sign, ratio: _rows(
        sign.abs(), 0 * sign, 0 * sign, _SHEAR * s * sign * ratio, sign.abs(), 0 * sign
    ),
    "translate-x": lambda s, sign, ratio: _rows(
        sign.abs(), 0 * sign, 2 * _MOVE * s * sign, 0 * sign, sign.abs(), 0 * sign
    ),
    "translate-y": lambda s, sign, ratio: _rows(
        sign.abs(), 0 * sign, 0 * sign, 0 * sign, sign.abs(), 2 * _MOVE * s * sign
    ),
}
OPERATIONS = (*COLOURS, *MOVES)


def apply(images: Tensor, which: Tensor, sign: Tensor, strength: float) -> Tensor:
    """One operation on every view; black comes in where nothing was.

    Args:
        images: (N, C, H, W) float32, 0..255.
        which: (N,) int64, of ``OPERATIONS``, on the host: how many views each has is known without waiting.
        sign: (N,) float64, +1 or -1.
        strength: 0..1.
    """
    found = images.clone()
    for name, chosen in _chosen(which, images.device):
        if name in COLOURS:
            found[chosen] = COLOURS[name](images[chosen], strength, sign[chosen])
        else:
            found[chosen] = F.grid_sample(
                images[chosen], _grid(name, images, sign[chosen], strength), align_corners=False
            )
    return found


def apply_to_maps(maps: Tensor, which: Tensor, sign: Tensor, strength: float, fill: int) -> Tensor:
    """What becomes of maps (N, H, W) as ``apply`` moves their images: by the nearest pixel."""
    found = maps.clone()
    for name, chosen in _chosen(which, maps.device):
        if name in COLOURS:
            continue
        grid = _grid(name, maps, sign[chosen], strength)
        moved = F.grid_sample((maps[chosen, None].float() - fill), grid, mode="nearest", align_corners=False)
        found[chosen] = (moved[:, 0] + fill).to(maps.dtype)
    return found


def _chosen(which: Tensor, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """The operations that some views have, and the rows of these, in one copy to the device."""
    known = which.numpy()
    rows = to_device(torch.from_numpy(np.argsort(known, kind="stable")), device)
    ends = np.cumsum(np.bincount(known, minlength=len(OPERATIONS)))
    for name, first, end in zip(OPERATIONS, (0, *ends[:-1]), ends, strict=True):
        if end > first:
            yield name, rows[int(first) : int(end)]


def _grid(name: str, images: Tensor, sign: Tensor, strength: float) -> Tensor:
    height, width = images.shape[-2:]
    matrix = MOVES[name](strength, sign, width / height).float()
    rows = torch.arange(height, device=images.device, dtype=torch.float32)
    columns = torch.arange(width, device=images.device, dtype=torch.float32)
    y, x = ((2 * rows + 1) / height - 1).view(1, -1, 1), ((2 * columns + 1) / width - 1).view(1, 1, -1)
    a, b, c, d, e, f = (matrix.view(-1, 6)[:, n].view(-1, 1, 1) for n in range(6))
    return torch.stack([a * x + b * y + c, d * x + e * y + f], dim=-1)
