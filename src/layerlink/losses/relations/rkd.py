"""Relational knowledge distillation: distances and angles between the examples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.relations.gram import flat, gram
from layerlink.losses.shapes import require_same_batch, unit

EPSILON = 1e-12


def rkd(student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """``distance * smooth_l1(D_s, D_t) + angle * smooth_l1(A_s, A_t)``, means over pairs and triples of the batch.

    D are Euclidean distances divided by their mean over pairs that are apart, A the cosines of the angles at each
    example between each two others. Takes memory that grows with N^2 times the features, and with N^3.

    Args:
        student: (N, ...), flattened; any floating dtype.
        teacher: (N, ...); everything but the batch may differ.
        distance: weight of distances, >= 0.
        angle: weight of angles, >= 0.

    Returns:
        Scalar, float32 or wider, >= 0; 0 for equal relations. Scaling, moving or turning a side does not matter.

    Raises:
        ShapeError: where they are not of the same examples.

    Source: Park et al. 2019 (arXiv 1904.05068), eq. 5 to 9, at the pooled feature.
    Weight: 1, distance 25, angle 50.
    When: embeddings, whose relations are what is used.
    Cost: memory N^2 D and N^3.
    """
    teacher = teacher.detach()
    require_same_batch("rkd", student, teacher)
    own, other = (_directions(side) for side in (student, teacher))
    loss = own.new_zeros(())
    if distance:
        loss = loss + distance * F.smooth_l1_loss(_distances(own), _distances(other))
    if angle:
        loss = loss + angle * F.smooth_l1_loss(_angles(own), _angles(other))
    return loss


def _directions(values: Tensor) -> Tensor:
    """From every example to every other: (N, N, D)."""
    rows = flat(values)
    return rows[None] - rows[:, None]


def _distances(directions: Tensor) -> Tensor:
    """(N, N), divided by the mean of those above 0."""
    # Clamped before the root, whose slope at 0 is infinite; then 0 again.
    squares = directions.square().sum(2)
    apart = squares > EPSILON
    lengths = torch.where(apart, squares.clamp_min(EPSILON).sqrt(), torch.zeros_like(squares))
    return lengths / (lengths.sum() / apart.sum().clamp_min(1)).clamp_min(EPSILON)


def _angles(directions: Tensor) -> Tensor:
    """(N, N, N): at the first example, between the directions to the second and to the third."""
    return gram(unit(directions, 2))
