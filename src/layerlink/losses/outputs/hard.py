"""The labels' loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.shapes import ShapeError, at_least_float32, require_elements


def hard_cross_entropy(logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the student's logits with the labels, mean over the batch.

    Args:
        logits: (N, C) scores before the softmax.
        target: (N,) int64 labels in 0..C-1, or (N, C) probabilities.
        label_smoothing: share of the target spread evenly over all classes, 0..1.

    Returns:
        Scalar in nats, float32 or the logits' dtype where that is wider, >= 0.

    Raises:
        ShapeError: where shapes or dtypes do not fit, there is nothing in them, or a label is outside 0..C-1.

    Source: label smoothing as Szegedy et al. 2016 (arXiv 1512.00567), section 7.

    >>> import torch
    >>> hard_cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
    tensor(1.3863)
    """
    if logits.ndim != 2 or target.shape not in (logits.shape[:1], logits.shape):
        raise ShapeError(
            "hard loss needs logits (N, C) and labels (N,) or probabilities (N, C); "
            f"got logits {tuple(logits.shape)}, labels {tuple(target.shape)}"
        )
    if not logits.is_floating_point():
        raise ShapeError(f"hard loss needs floating-point logits; got {logits.dtype}")
    require_elements("hard loss", logits)
    if target.ndim == 1 and target.dtype != torch.int64:
        raise ShapeError(f"hard loss needs int64 labels; got {target.dtype}. Convert them: labels.long()")
    if target.is_complex():
        raise ShapeError(f"hard loss needs labels or real probabilities; got {target.dtype}")
    logits = at_least_float32(logits)
    if target.ndim == 2:
        target = target.to(logits.dtype)
    try:
        # torch would leave out labels of -100 without a word; no label can be this number.
        return F.cross_entropy(logits, target, label_smoothing=label_smoothing, ignore_index=-(2**63))
    except IndexError:  # raised by torch on the CPU; a CUDA device reports it by an assertion of its own
        low, high = int(target.min()), int(target.max())
        raise ShapeError(
            f"labels must lie in 0..{logits.shape[1] - 1}, the student's {logits.shape[1]} classes; "
            f"got {low}..{high}. Set the model's num_classes to the data's"
        ) from None
