"""Relational knowledge distillation: distances and angles between the examples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.in_pieces import rows_at_once, slices, sum_in_pieces
from layerlink.losses.relations.gram import flat, gram
from layerlink.losses.shapes import alike, require_same_batch

SHORTEST = 1e-6  # of a distance that counts in the mean
TRIPLES = 1 << 16  # that a processor's cache holds
NOTHING = 1e-12  # of a distance that has a direction: nearer ones would hand on gradients as large as its inverse


def rkd(student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """``distance * smooth_l1(D_s, D_t) + angle * smooth_l1(A_s, A_t)``, means over pairs and triples of the batch.

    D are Euclidean distances divided by their mean over pairs that are apart, A the cosines of the angles at each
    example between each two others.

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
    Cost: time N^3, memory N^2, whatever the number of features beyond their inner products.
    """
    teacher = teacher.detach()
    require_same_batch("rkd", student, teacher)
    own, other = flat(student), flat(teacher)
    apart, teacher_apart = _apart(own), _apart(other)
    loss = own.new_zeros(())
    if distance:
        loss = loss + distance * F.smooth_l1_loss(*alike(_distances(apart), _distances(teacher_apart)))
    if angle:
        loss = loss + angle * _angles_differ(_turns(own, apart), _turns(other, teacher_apart)).to(loss.dtype)
    return loss


def _apart(rows: Tensor) -> Tensor:
    """Euclidean distances, (N, N) of (N, D): of differences, so that equal rows are 0 apart to the last digit."""
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def _distances(apart: Tensor) -> Tensor:
    """(N, N), divided by the mean of those above 0."""
    far = apart > SHORTEST
    lengths = torch.where(far, apart, torch.zeros_like(apart))
    return lengths / (lengths.sum() / far.sum().clamp_min(1)).clamp_min(SHORTEST)


def _turns(rows: Tensor, apart: Tensor) -> Tensor:
    """What angles are made of, (2, N, N), float64: inner products, and the inverse of distances.

    An example equal to the one at the corner lies in no direction: its inverse is 0, and so are its cosines.
    """
    rows, apart = _wide(rows), _wide(apart)
    has_direction = apart > NOTHING
    inverse = torch.where(has_direction, apart, torch.ones_like(apart)).reciprocal() * has_direction
    return torch.stack([gram(rows - rows.mean(0)), inverse])


def _angles(turns: Tensor, corners: slice) -> Tensor:
    """(K, N, N): cosines at K of the examples, between the directions to the second and to the third.

    ``(x_i - x_k) . (x_j - x_k)`` is four inner products of the rows, so that no (N, N, D) of directions is made. The
    four cancel where examples lie close together and far from 0: hence the centre at 0, and twice the digits.
    """
    products, inverse = turns
    own = products.diagonal()[corners, None, None]
    between = own - products[corners, :, None] - products[corners, None, :] + products
    cosines: Tensor = between * inverse[corners, :, None] * inverse[corners, None, :]
    return cosines


def _angles_differ(own: Tensor, other: Tensor) -> Tensor:
    """Mean over all triples, some corners at a time."""

    def differ(own: Tensor, corners: slice) -> Tensor:
        return F.smooth_l1_loss(_angles(own, corners), _angles(other, corners), reduction="sum")

    count = own.shape[1]
    corners = rows_at_once(count**2, own.device, TRIPLES)
    return sum_in_pieces(differ, own, slices(count, corners)) / count**3


def _wide(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return values if values.device.type == "mps" else values.double()
