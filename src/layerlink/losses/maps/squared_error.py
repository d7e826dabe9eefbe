"""Mean squared error of 16-bit activations: one pass, in float32, without float32 copies of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements at a time on the CPU: the float32 differences of a piece stay in a core's cache.
_PIECE = 1 << 17


class MeanSquaredError(torch.autograd.Function):
    """``mean((student - teacher)^2)`` of two tensors of one shape, both bfloat16 or float16.

    Differences, squares and their sum are float32. What is kept for the gradient is the difference, rounded to bfloat16
    where the inputs are, in which the gradient is given anyway; of float16, which cannot hold a difference above 65504
    whose gradient it can, in float32. Differentiable once.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean, float32."""
        student = student if _dense(student) else student.contiguous()
        if teacher.stride() != student.stride():
            teacher = torch.empty_like(student, dtype=teacher.dtype).copy_(teacher)
        learns = ctx.needs_input_grad[0]
        digits = torch.float32 if student.dtype == torch.float16 else student.dtype
        kept = torch.empty_like(student, dtype=digits) if learns else None
        total = _sum_of_squares(_flat(student), _flat(teacher), None if kept is None else _flat(kept))
        if kept is not None:
            ctx.save_for_backward(kept)
            ctx.dtype = student.dtype
        return total / student.numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Of the student's side; the teacher's has none."""
        (difference,) = ctx.saved_tensors
        return (difference * (gradient * (2 / difference.numel()))).to(ctx.dtype), None


def _sum_of_squares(student: Tensor, teacher: Tensor, kept: Tensor | None) -> Tensor:
    size = _PIECE if student.device.type == "cpu" else len(student)
    piece = torch.empty(min(size, len(student)), dtype=torch.float32, device=student.device)
    total = torch.zeros((), dtype=torch.float32, device=student.device)
    for start in range(0, len(student), size):
        part = slice(start, start + size)
        difference = piece[: len(student[part])].copy_(student[part])
        difference.sub_(teacher[part])
        total += torch.dot(difference, difference)
        if kept is not None:
            kept[part].copy_(difference)
    return total


def _dense(tensor: Tensor) -> bool:
    """Whether its elements fill one piece of memory, in whatever order."""
    return tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _flat(tensor: Tensor) -> Tensor:
    """A dense tensor's elements in the order of its memory."""
    return tensor.as_strided((tensor.numel(),), (1,))
