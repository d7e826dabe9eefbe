"""Multi-level logit distillation: examples, classes and the batch, at several temperatures."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, own_digits, require_classes, require_equal_shapes


def mlkd(
    student: Tensor,
    teacher: Tensor,
    *,
    views: int | None = None,
    temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0),
    classes: float = 1.0,
    batch: float = 1.0,
    confident: float = 0.5,
    standardise: bool = False,
) -> Tensor:
    """Sum over temperatures and views of ``T^2 KL + |P_s'P_s - P_t'P_t|^2 / C + |P_sP_s' - P_tP_t'|^2 / N``.

    P is (N, C), ``softmax(z / T)``: KL compares examples, the second term classes, the third the batch.

    Args:
        student: logits (V N, C), C >= 2, any floating dtype; the views of the images stand one after the other.
        teacher: the same shape.
        views: V, of every image; None: 1.
        temperatures: each > 0.
        classes: weight of the relations of classes, >= 0.
        batch: weight of the relations of examples, >= 0.
        confident: share of the examples that KL leaves out, those of which the teacher is least sure, 0 <= share < 1.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar, float32 or wider, >= 0 up to rounding; 0 for equal outputs.

    Raises:
        ShapeError: where the shapes differ, are no logits, or are not of so many views.
        UsageError: for an impossible option.

    Source: Jin, Wang & Lin 2023 (CVPR 2023, pages 24276 to 24285), eq. 3 to 7.
    Weight: 0.9 beside 0.1 of the labels, whose cross-entropy the paper sums over the views (0.2 where it is their mean,
    as here, of two); 480 epochs.
    When: there is time for a long training with strong augmentation.
    Cost: five softmaxes a side; memory N^2 and C^2 a temperature.
    Differs: the paper pairs a weak view with a strong one (random policies), where ``data.views`` makes all of the same
    augmentation. KL is the mean over the examples of which the teacher is surest; code in use masks the others and
    takes the mean over all.
    """
    teacher = teacher.detach()
    require_equal_shapes("mlkd", student, teacher)
    count = 1 if views is None else views
    if student.ndim != 2 or count < 1 or len(student) % count:
        raise ShapeError(f"mlkd needs logits (V N, C) of {count} views; got {tuple(student.shape)}")
    require_classes("mlkd", student)
    if not isinstance(temperatures, tuple | list):
        raise UsageError(f"mlkd: temperatures must be a list of numbers > 0, as (2, 4, 6); got {temperatures!r}")
    if not temperatures or not min(temperatures) > 0 or not (classes >= 0 and batch >= 0 and 0 <= confident < 1):
        raise UsageError(
            f"mlkd: temperatures must be > 0, weights >= 0, 0 <= confident < 1; got {temperatures}, {classes:g}, "
            f"{batch:g}, {confident:g}"
        )
    own, other = (comparable(side, standardise) for side in (student, teacher))
    loss = own.new_zeros(())
    for s, t in zip(own.chunk(count), other.chunk(count), strict=True):
        for temperature in temperatures:
            rows = divergences(s, t, temperature=temperature)[_surest(t, temperature, confident)]
            p_s, p_t = ((side / temperature).softmax(1) for side in (s, t))
            with own_digits(p_s):
                by_class = (p_s.T @ p_s - p_t.T @ p_t).square().sum() / p_s.shape[1]
                by_image = (p_s @ p_s.T - p_t @ p_t.T).square().sum() / len(p_s)
            loss = loss + temperature**2 * rows.mean() + classes * by_class + batch * by_image
    return loss


def _surest(teacher: Tensor, temperature: float, left_out: float) -> Tensor:
    """The examples of which the teacher is surest, in their order, at least one."""
    kept = max(1, len(teacher) - int(left_out * len(teacher)))
    sure = (teacher / temperature).softmax(1).amax(1)
    return sure.topk(kept).indices.sort().values if kept < len(teacher) else torch.arange(kept, device=teacher.device)
