"""Convolutions over maps of at most 2x2 pixels as one matrix product.

A 3x3 convolution with padding 1 over a 2x2 map reads 9 pixels for each output, 5 of which are padding. As a matrix
from all pixels and channels to all pixels and channels it costs 4 / 9 of that, and libraries multiply matrices at
their peak, which they do not reach for such small maps. What it brings stands in
docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LARGEST = 2  # pixels a side; at 3x3 the matrix costs as much as the convolution
_plain = False  # inside ``plain_convolutions``


class TinyMapConv2d(nn.Conv2d):
    """A ``Conv2d`` that is a matrix product where it gets a tiny map on the CPU, and as it was elsewhere.

    Parameters, state and name are those of ``Conv2d``. While torch compiles, traces or transforms functions, it is one.
    """

    keeps_matrix = False  # see ``use_tiny_map_convolutions``
    _frozen: tuple[Any, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As ``Conv2d``; in the tiny case differentiable once."""
        if _plain or not (_tiny(x) and _ordinary(x, self.weight)):
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        if not torch.is_autocast_enabled("cpu") and x.dtype != dtype:
            return super().forward(x)  # torch's own words for what does not fit
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.to(dtype)
            if self.weight.requires_grad and torch.is_grad_enabled():
                y: Tensor = _TinyConvolution.apply(x.to(dtype), self.weight, bias)  # type: ignore[no-untyped-call]
                return y
            return _apply(x.to(dtype), self._matrix(x.shape[2], x.shape[3], dtype), bias)

    def _matrix(self, height: int, width: int, dtype: torch.dtype) -> Tensor:
        if self.weight.requires_grad or not self.keeps_matrix:
            return _matrix(self.weight, height, width, dtype)
        key = (self.weight.data_ptr(), self.weight._version, height, width, dtype)
        if self._frozen is None or self._frozen[0] != key:
            with torch.inference_mode(False):  # so that it also serves a later pass with gradients
                self._frozen = key, _matrix(self.weight, height, width, dtype)
        return self._frozen[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_frozen"}

    def _get_name(self) -> str:
        return "Conv2d"


def use_tiny_map_convolutions(model: nn.Module, *, keep_matrices: bool = False) -> int:
    """Let every plain 3x3 convolution of ``model`` (stride 1, padding 1 with zeros, one group) know the tiny case.

    The modules stay the same objects, with their hooks and parameters.

    Args:
        model: any module.
        keep_matrices: build the matrix of a frozen layer once. Only for weights that nobody changes through ``.data``
            or a shared array, which torch counts as no change.

    Returns:
        How many convolutions they are.
    """
    found = [module for module in model.modules() if type(module) is nn.Conv2d and _fits(module)]
    for module in found:
        module.__class__ = TinyMapConv2d
        module.keeps_matrix = keep_matrices  # type: ignore[assignment]
    return len(found)


def _tiny(x: Tensor) -> bool:
    small = x.ndim == 4 and 0 < max(x.shape[2:]) <= _LARGEST and x.numel() > 0
    return small and x.device.type == "cpu" and x.is_floating_point()


def _ordinary(x: Tensor, weight: Tensor) -> bool:
    """Whether these are tensors with values, outside of compilers and function transforms."""
    return (
        not torch.compiler.is_compiling()  # first: a compiler cannot ask a tensor all of what follows
        and type(x) is Tensor
        and type(weight) in (Tensor, nn.Parameter)
        and not weight.is_inference()
        and not torch._C._get_tracing_state()
        and torch._C._functorch.maybe_current_level() is None
    )


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Let every convolution be one meanwhile: for counting what a model costs by its definition."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def _fits(module: nn.Conv2d) -> bool:
    return (
        module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.padding == (1, 1)
        and module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and "forward" not in vars(module)
    )


class _TinyConvolution(torch.autograd.Function):
    """``x`` (N, I, H, W), ``weight`` (O, I, 3, 3), ``bias`` (O,) or None -> (N, O, H, W), channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        matrix = _matrix(weight, x.shape[2], x.shape[3], x.dtype)
        ctx.save_for_backward(x, matrix)
        ctx.weight = weight.shape, weight.dtype
        # Not a view, which a ReLU in place behind this layer could not change.
        return torch.empty_like(y := _apply(x, matrix, bias)).copy_(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, matrix = ctx.saved_tensors
        count, inputs, height, width = x.shape
        rows = gradient.to(x.dtype).permute(0, 2, 3, 1).reshape(count, -1)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = (rows @ matrix).view(count, height, width, inputs).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            shape, dtype = ctx.weight
            of_weight = torch.zeros(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
            blocks = rows.t() @ x.permute(0, 2, 3, 1).reshape(count, -1)
            for kernel, block in _pairs(of_weight, blocks, height, width):
                kernel.add_(block)
        if ctx.needs_input_grad[2]:
            of_bias = rows.view(count, height * width, -1).sum(dim=(0, 1))
        return of_x, of_weight, of_bias


def _apply(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    count, _, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(count, -1)
    y = nn.functional.linear(rows, matrix, None if bias is None else bias.repeat(height * width))
    return y.view(count, height, width, -1).permute(0, 3, 1, 2)


def _matrix(weight: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """The convolution as a matrix (H * W * O, H * W * I)."""
    outputs, inputs = weight.shape[:2]
    matrix = torch.empty(height * width * outputs, height * width * inputs, dtype=dtype)
    kernels = weight.detach().contiguous(memory_format=torch.channels_last)
    for kernel, block in _pairs(kernels, matrix, height, width):
        block.copy_(kernel)
    return matrix


def _pairs(weight: Tensor, matrix: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """Where kernel and matrix are the same, as views (O, W * I): for an output pixel, the kernel's row over one row
    of input pixels lies in one piece, as it does in the matrix. ``weight`` is channels last."""
    outputs, inputs = weight.shape[:2]
    kernel = weight.permute(0, 2, 3, 1).reshape(outputs, 3, 3 * inputs)
    blocks = matrix.view(height, width, outputs, height, width * inputs)
    return [
        (kernel[:, 1 + row - y, (1 - x) * inputs : (1 - x + width) * inputs], blocks[y, x, :, row])
        for y in range(height)
        for x in range(width)
        for row in range(height)
    ]
