"""Intra-class feature variation: how like its class's centre every position of a map is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.masking import cleared, mean_of
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_maps, unit


def ifvd(
    student: Tensor, teacher: Tensor, *, labels: Tensor, mask: Tensor | None = None, ignore: int | None = 255
) -> Tensor:
    """Mean over examples and positions of ``(v_s - v_t)^2``: v is the cosine between features and their class's centre.

    The centre is the mean of the features with the same label in the same image.

    Args:
        student: features (N, C, H, W), any floating dtype.
        teacher: (N, D, H, W), of the same positions.
        labels: int64 (N, H', W'), resized by nearest; (N,) where an image is of one class. Only which are equal
            matters.
        mask: bool (N, H, W), the positions that count, in centres and in the mean.
        ignore: the label of positions that teach nothing, though the mean counts them; None: there is none.

    Returns:
        Scalar in 0..4, float32 or wider; 0 for equal variations. The activations' scale does not matter.

    Raises:
        ShapeError: where they are no maps of the same examples and positions, or the labels are not of them.

    Source: Wang et al. 2020 (ECCV 2020, "Intra-class Feature Variation Distillation for Semantic Segmentation"),
        section 3.2.
    Differs: a centre is divided by the number of its positions, without 1e-6 beside it; labels
        are resized as masks are, by the nearest centre.
    Weight: 200, at the features before the last layer.
    When: semantic segmentation.
    Cost: a few passes over both maps, and as much memory again for centres.
    """
    teacher = teacher.detach()
    require_maps("ifvd", student, teacher)
    if student.shape[2:] != teacher.shape[2:]:
        raise ShapeError(
            f"ifvd needs maps of the same positions; student gives {tuple(student.shape)}, teacher "
            f"{tuple(teacher.shape)}"
        )
    places, teaching = _places(labels, student, ignore)
    kept = torch.ones_like(places, dtype=torch.bool) if mask is None else mask.flatten()
    own, other = (_variation(cleared("ifvd", side, mask), places, kept) for side in (student, teacher))
    return mean_of((own - other).square() * (kept & teaching), kept)


def _places(labels: Tensor, student: Tensor, ignore: int | None) -> tuple[Tensor, Tensor]:
    """Which centre a position belongs to, one a label and image, and whether it teaches: both (N * H * W,)."""
    count = len(student)
    if labels.dtype != torch.int64 or labels.ndim not in (1, 3) or len(labels) != count or not labels.numel():
        raise ShapeError(
            f"ifvd needs int64 labels ({count}, H, W), or ({count},) of whole images; got {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    size = (student.shape[2], student.shape[3])
    where = labels if labels.ndim == 3 else labels[:, None, None]
    resized = F.interpolate(where[:, None].double(), size=size, mode="nearest-exact")[:, 0].long()
    teaching = torch.ones_like(resized, dtype=torch.bool) if ignore is None else resized != ignore
    # Of each image at most one centre a position: how many there are is not asked of the device.
    ordered, order = resized.flatten(1).sort(dim=1, stable=True)
    changes = ordered[:, 1:] != ordered[:, :-1]
    ranks = F.pad(changes.cumsum(1), (1, 0))
    first = torch.arange(count, device=labels.device)[:, None] * ordered.shape[1]
    places = torch.zeros_like(order).scatter_(1, order, ranks) + first
    return places.flatten(), teaching.flatten()


def _variation(values: Tensor, places: Tensor, kept: Tensor) -> Tensor:
    """The cosine at every position: (N * H * W,); what is not kept is 0 in ``values``."""
    rows = at_least_float32(values).movedim(1, -1).flatten(0, 2)
    sizes = rows.new_zeros(len(rows)).index_add(0, places, kept.to(rows.dtype)).clamp_min(1)
    with own_digits(rows):
        centres = torch.zeros_like(rows).index_add(0, places, rows) / sizes[:, None]
        return (unit(rows, 1) * unit(centres, 1)[places]).sum(1)
