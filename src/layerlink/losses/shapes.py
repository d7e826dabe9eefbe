"""What every loss asks of its two tensors before it computes: shapes that fit, enough digits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError

_NOTHING = 1e-12  # of a length


class ShapeError(UsageError):
    """Two tensors that a loss cannot compare."""


def require_equal_shapes(loss: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ``ShapeError`` unless both are floating, of one shape and not empty. Broadcasting hides wrong links."""
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ShapeError(f"{loss} needs floating-point tensors; student gives {student.dtype}, teacher {teacher.dtype}")
    if student.shape != teacher.shape:
        raise ShapeError(
            f"{loss} needs equal shapes; student gives {tuple(student.shape)}, teacher {tuple(teacher.shape)}"
        )
    require_elements(loss, student)


def require_maps(loss: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ``ShapeError`` unless both are floating maps (N, C, H, W) of one batch, and not empty."""
    require_same_batch(loss, student, teacher)
    if student.ndim != 4 or teacher.ndim != 4:
        raise ShapeError(
            f"{loss} needs maps (N, C, H, W); student gives {tuple(student.shape)}, teacher {tuple(teacher.shape)}"
        )


def require_same_batch(loss: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ``ShapeError`` unless both are floating, of the same examples, and not empty."""
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ShapeError(f"{loss} needs floating-point tensors; student gives {student.dtype}, teacher {teacher.dtype}")
    if student.ndim < 2 or teacher.ndim < 2 or len(student) != len(teacher):
        raise ShapeError(
            f"{loss} needs two activations (N, ...) of the same N examples; student gives {tuple(student.shape)}, "
            f"teacher {tuple(teacher.shape)}"
        )
    require_elements(loss, student)
    require_elements(loss, teacher)


def require_sizes(loss: str, student: Sequence[int], teacher: Sequence[int]) -> None:
    """Raise ``ShapeError`` unless both are shapes (N, ...) of at least one number, for a loss that flattens them."""
    if any(len(shape) < 2 or not min(shape) for shape in (student, teacher)):
        raise ShapeError(
            f"{loss} needs (N, ...) on both sides; student gives {tuple(student)}, teacher {tuple(teacher)}"
        )


def require_tokens(loss: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ``ShapeError`` unless both are floating (N, L, D) of the same tokens, of any widths, and not empty."""
    require_same_batch(loss, student, teacher)
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[1] != teacher.shape[1]:
        raise ShapeError(
            f"{loss} needs (N, L, D) of the same tokens; student gives {tuple(student.shape)}, teacher "
            f"{tuple(teacher.shape)}"
        )


def require_attention(loss: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ``ShapeError`` unless both are floating (N, heads, L, L) of one shape, and not empty."""
    require_equal_shapes(loss, student, teacher)
    if student.ndim != 4:
        raise ShapeError(f"{loss} needs maps of attention (N, heads, L, L); got {tuple(student.shape)}")


def to_smaller_map(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (N, C, H, W) at the positions of the smaller one, by average pooling of the other."""
    height, width = (min(own, other) for own, other in zip(student.shape[2:], teacher.shape[2:], strict=True))
    pooled = [
        side if side.shape[2:] == (height, width) else F.adaptive_avg_pool2d(side, (height, width))
        for side in (student, teacher)
    ]
    return pooled[0], pooled[1]


def unit(values: Tensor, axis: int) -> Tensor:
    """Vectors along an axis brought to length 1; where one is 0 it stays 0, without a gradient.

    ``normalize`` would hand 10^12 times the gradient on at such a place, and a ReLU leaves many of them. Elsewhere it
    is the same to the bit.
    """
    lengths = torch.linalg.vector_norm(values, dim=axis, keepdim=True)
    brought: Tensor = values / lengths.masked_fill(lengths <= _NOTHING, torch.inf)
    return brought


def require_elements(loss: str, student: Tensor) -> None:
    """Raise ``ShapeError`` for a tensor of nothing: its mean would be NaN."""
    if not student.numel():
        raise ShapeError(f"{loss} needs at least one element; student gives {tuple(student.shape)}")


def require_classes(loss: str, logits: Tensor) -> None:
    """Raise ``ShapeError`` for logits of one class: their softmax is 1 whatever they are, and teaches nothing."""
    classes = logits.shape[2] if logits.ndim == 3 else logits.shape[1]
    if classes < 2:
        raise ShapeError(
            f"{loss} needs logits of two classes or more; got {tuple(logits.shape)}: the softmax over a single one is "
            "1 whatever the logit. For yes or no, a sigmoid's logit: task=layerlink.MultiLabel() (task: multi-label); "
            "for numbers task=layerlink.Regression()"
        )


def own_digits(tensor: Tensor) -> torch.autocast:
    """The context in which products keep the digits of their factors: autocast would round them to 16 bits."""
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """``tensor`` in float32 where it has fewer digits: sums over bfloat16 keep three of them."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their dtypes, float32 at least: losses of two dtypes have no gradient in torch 2.6."""
    widest = torch.promote_types(at_least_float32(student).dtype, at_least_float32(teacher).dtype)
    return student.to(widest), teacher.to(widest)


def embedded(layer: nn.Module, values: Tensor) -> Tensor:
    """What a trained layer makes of an activation: computed in the layer's dtype, then float32 or wider."""
    return at_least_float32(layer(values.to(next(layer.parameters()).dtype)))
