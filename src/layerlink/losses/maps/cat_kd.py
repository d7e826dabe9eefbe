"""Class attention transfer: where on the last map each class is seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.heads import weight_of
from layerlink.losses.shapes import ShapeError, alike, at_least_float32, own_digits, require_maps, unit


def cat_kd(
    student: Tensor,
    teacher: Tensor,
    *,
    student_head: nn.Module,
    teacher_head: nn.Module,
    resolution: int = 2,
    normalise: bool = False,
) -> Tensor:
    """Mean over examples, classes and positions of ``(m_s - m_t)^2``: m is a class's activation map, average-pooled.

    ``m_c = sum_d w_cd f_d``, w being the weights of each side's own classifier.

    Args:
        student: the last map before pooling (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W').
        student_head: its classifier, one linear layer; learns by this loss, too.
        teacher_head: its classifier, of the same classes; does not learn.
        resolution: positions a side after pooling, >= 1.
        normalise: bring every class's pooled map to L2 length 1, as the authors do for students of other kinds.

    Returns:
        Scalar, float32 or wider, >= 0, in squared units of the logits; 0 for equal maps of classes.

    Raises:
        ShapeError: where they are no maps of the same examples, or classifiers do not fit them or each other.
        UsageError: for an impossible option, or a classifier that is no linear layer.

    Source: Guo et al. 2023 (CVPR 2023, arXiv 2304.12777), section 3.
    Differs: the classifier's bias, a constant a class, is left out.
    Weight: 4.5 for vgg13 -> vgg8, 15 for resnet32x4 -> resnet8x4, 0.7 to 12 for other pairs of one kind, 15 to 600 for
        pairs of different kinds, most of these normalised.
    When: convolutional classifiers that end in average pooling and one linear layer.
    Cost: a 1x1 convolution to the classes a side, at few positions.
    """
    teacher = teacher.detach()
    require_maps("cat_kd", student, teacher)
    if resolution < 1:
        raise UsageError(f"cat_kd: resolution must be >= 1; got {resolution}")
    own = _class_maps(student, weight_of("cat_kd", student_head), resolution)
    other = _class_maps(teacher, weight_of("cat_kd", teacher_head).detach(), resolution)
    if own.shape != other.shape:
        raise ShapeError(f"cat_kd needs classifiers of the same classes; got {own.shape[1]} and {other.shape[1]}")
    if normalise:
        own, other = (unit(side.flatten(2), 2) for side in (own, other))
    return F.mse_loss(*alike(own, other))


def _class_maps(values: Tensor, weight: Tensor, resolution: int) -> Tensor:
    if weight.shape[1] != values.shape[1]:
        raise ShapeError(f"cat_kd needs maps of the classifier's {weight.shape[1]} features; got {tuple(values.shape)}")
    # Pooled first: both are linear, and there are fewer positions after it.
    pooled = F.adaptive_avg_pool2d(at_least_float32(values), (resolution, resolution))
    with own_digits(pooled):
        return torch.einsum("cd,ndhw->nchw", weight.to(pooled.dtype), pooled)
