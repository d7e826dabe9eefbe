"""Flow of the solution procedure: how two layers of a network go together."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_maps, to_smaller_map

Pair = tuple[Tensor, Tensor]


def fsp(student: Pair, teacher: Pair) -> Tensor:
    """Mean over examples and pairs of channels of ``(G_s - G_t)^2``: G is the mean over positions of ``f_1 f_2^T``.

    Args:
        student: two maps (N, C1, H, W) and (N, C2, H', W'), the larger of which is average-pooled to the smaller.
        teacher: the same, with the student's channels; positions may differ.

    Returns:
        Scalar, float32 or wider, >= 0; 0 for equal matrices. It grows with the fourth power of the activations.

    Raises:
        ShapeError: where they are not two maps a side, or channels differ.

    Source: Yim et al. 2017 (CVPR 2017, "A Gift from Knowledge Distillation"), eq. 1 and 2.
    Differs: the larger map is average-pooled, not max-pooled.
    Weight: none is published: a first stage of its own, then labels alone.
    When: a first stage before the training with labels, between stages of equal width on both sides.
    Cost: N C1 C2 numbers a side.
    """
    if len(student) != 2 or len(teacher) != 2:
        raise ShapeError(f"fsp compares two layers a side; got {len(teacher)} of the teacher and {len(student)}")
    for own, other in zip(student, teacher, strict=True):
        require_maps("fsp", own, other)
        if own.shape[1] != other.shape[1]:
            raise ShapeError(
                f"fsp needs equal channels; student gives {tuple(own.shape)}, teacher {tuple(other.shape)}"
            )
    return (_flow(student) - _flow(teacher).detach()).square().mean()


def _flow(pair: Pair) -> Tensor:
    first, second = to_smaller_map(*(at_least_float32(side) for side in pair))
    flat = first.flatten(2)
    with own_digits(flat):
        return flat @ second.flatten(2).transpose(1, 2) / flat.shape[2]
