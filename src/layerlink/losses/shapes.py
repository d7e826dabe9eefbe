"""What every loss asks of its two tensors before it computes: shapes that fit, enough digits."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError


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


def require_elements(loss: str, student: Tensor) -> None:
    """Raise ``ShapeError`` for a tensor of nothing: its mean would be NaN."""
    if not student.numel():
        raise ShapeError(f"{loss} needs at least one element; student gives {tuple(student.shape)}")


def at_least_float32(tensor: Tensor) -> Tensor:
    """``tensor`` in float32 where it has fewer digits: sums over bfloat16 keep three of them."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
