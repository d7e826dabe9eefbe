"""The labels' loss of classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.masking import channel_axis, positions
from layerlink.losses.shapes import ShapeError, at_least_float32, require_classes, require_elements

_NEVER = -(2**63)  # torch leaves out labels of this value; no label can be it
_SUM_TOLERANCE = 0.01  # of probabilities, which may be rounded to bfloat16


def hard_cross_entropy(
    logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0, mask: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the student's logits with the labels, mean over the batch and its positions.

    Args:
        logits: scores before the softmax over C >= 2 classes: (N, C), tokens (N, L, C) or maps (N, C, H, W).
        target: int64 labels in 0..C-1: (N,), (N, L) or (N, H, W); or probabilities of the logits' shape, which are >= 0
            and add up to 1 over the classes.
        label_smoothing: share of the target spread evenly over all classes, 0..1.
        mask: bool, true where a position counts, of the shape of labels; what stands elsewhere is not looked at, and
            the mean is over these. 0, with a graph, where none counts.

    Returns:
        Scalar in nats, float32 or the logits' dtype where that is wider, >= 0.

    Raises:
        ShapeError: where shapes or dtypes do not fit, there is nothing in them, or a target is none that softmax can
            reach: a label outside 0..C-1, rows that are no probabilities, a single class.

    Source: label smoothing as Szegedy et al. 2016 (arXiv 1512.00567), section 7.

    >>> import torch
    >>> hard_cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
    tensor(1.3863)
    """
    _check(logits, target)
    logits = at_least_float32(logits)
    if target.shape == logits.shape:
        return _of_probabilities(logits, target.to(logits.dtype), label_smoothing, mask)
    if mask is None:
        count = None
    else:
        count = _fitting(mask, logits).sum()
        target = target.masked_fill(~mask, _NEVER)
    if (axes := logits.ndim) == 3:
        logits, target = logits.flatten(0, 1), target.flatten()
    try:
        # torch would leave out labels of -100 without a word.
        loss = F.cross_entropy(
            logits,
            target,
            label_smoothing=label_smoothing,
            ignore_index=_NEVER,
            reduction="mean" if count is None else "sum",
        )
    except IndexError:  # raised by torch on the CPU; a CUDA device reports it by an assertion of its own
        raise ShapeError(_out_of_range(target, logits.shape[1], axes)) from None
    return loss if count is None else loss / count.clamp_min(1)


def _check(logits: Tensor, target: Tensor) -> None:
    axis = channel_axis(logits) if logits.ndim in (2, 3, 4) else 0
    places = logits.shape[:axis] + logits.shape[axis + 1 :]
    if not axis or target.shape not in (places, logits.shape):
        raise ShapeError(
            "hard loss needs logits (N, C) and labels (N,) or probabilities (N, C), or the same at every position of "
            f"tokens (N, L, C) or maps (N, C, H, W); got logits {tuple(logits.shape)}, labels {tuple(target.shape)}"
        )
    if not logits.is_floating_point():
        raise ShapeError(f"hard loss needs floating-point logits; got {logits.dtype}")
    require_elements("hard loss", logits)
    require_classes("hard loss", logits)
    if target.shape == places and target.dtype != torch.int64:
        raise ShapeError(f"hard loss needs int64 labels; got {target.dtype}. Convert them: labels.long()")
    if target.is_complex():
        raise ShapeError(f"hard loss needs labels or real probabilities; got {target.dtype}")


def _of_probabilities(logits: Tensor, target: Tensor, label_smoothing: float, mask: Tensor | None) -> Tensor:
    axis = channel_axis(logits)
    kept = None if mask is None else _fitting(mask, logits)
    rows = target if kept is None else target.masked_fill(~kept.unsqueeze(axis), 1 / target.shape[axis])
    sums = rows.detach().sum(axis)
    low, high = rows.detach().amin(), sums.sub(1).abs().amax()
    if not (bool(low >= 0) and bool(high <= _SUM_TOLERANCE)):  # NaN is neither
        raise ShapeError(
            "hard loss: probabilities must be >= 0 and add up to 1 over the classes; got a least value of "
            f"{float(low):g} and sums from {float(sums.min()):g} to {float(sums.max()):g}. Where several classes of an "
            "example are true, that is the task multi-label: task=layerlink.MultiLabel()"
        )
    if logits.ndim == 3:
        logits, rows, axis = logits.flatten(0, 1), rows.flatten(0, 1), 1
        kept = None if kept is None else kept.flatten()
    if kept is None:
        return F.cross_entropy(logits, rows, label_smoothing=label_smoothing)
    each = F.cross_entropy(
        logits.masked_fill(~kept.unsqueeze(axis), 0), rows, label_smoothing=label_smoothing, reduction="none"
    )
    return (each * kept).sum() / kept.sum().clamp_min(1)


def _fitting(mask: Tensor, logits: Tensor) -> Tensor:
    positions("hard loss", mask, logits)
    return mask


def _out_of_range(target: Tensor, classes: int, axes: int) -> str:
    low, high = (int(it) for it in target[target != _NEVER].aminmax())
    nothing = low if low < 0 else high
    task = {2: "Classification(unlabelled", 3: "SequenceLabelling(ignore", 4: "Segmentation(ignore"}[axes]
    return (
        f"labels must lie in 0..{classes - 1}, the student's {classes} classes; got {low}..{high}. Set the model's "
        f"num_classes to the data's; where {nothing} means no label, say so: task=layerlink.{task}={nothing})"
    )
