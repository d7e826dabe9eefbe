"""Adapters of maps (N, C, H, W): channels by a convolution of one pixel, positions by pooling or interpolation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.adapters.adapter import Adapter, AdapterError, Shape, shown

Steps = list[tuple[str, nn.Module]]


class Resized(nn.Module):
    """Positions by bilinear interpolation; corners are not aligned."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, H, W) at the new positions."""
        return F.interpolate(values, size=self.size, mode="bilinear", align_corners=False)


class ChannelsFirst(nn.Module):
    """(N, H, W, C) as (N, C, H, W): a view."""

    def forward(self, values: Tensor) -> Tensor:
        """The view."""
        return values.movedim(-1, 1)


def conv1x1(student: Shape, teacher: Shape, *, norm: bool = False) -> Adapter:
    """A 1x1 convolution to the teacher's channels; positions are pooled before it or interpolated after it.

    Args:
        student: (N, C, H, W).
        teacher: (N, D, H', W').
        norm: batch normalisation after it; the convolution has no bias then.

    Initial weights are torch's own for a convolution, which keep the size of what goes through: a regressor ends in no
    ReLU. Source: Romero et al. 2015 (FitNets, arXiv 1412.6550), eq. 3: the convolutional regressor.
    Differs: one pixel instead of the kernel that makes the sizes fit; positions are pooled or interpolated.

    Raises:
        AdapterError: where a side is no map.
    """
    _both_maps("conv1x1", student, teacher)
    return Adapter(map_steps(student[1:], teacher[1:], norm=norm, always=True))


def resize(student: Shape, teacher: Shape) -> Adapter:
    """Bilinear interpolation to the teacher's positions; channels must be equal. No parameters.

    Raises:
        AdapterError: where a side is no map, or channels differ.
    """
    _both_maps("resize", student, teacher)
    _equal_channels("resize", student, teacher)
    return Adapter([(_from_to("resize", student, teacher), Resized((teacher[2], teacher[3])))])


def pool(student: Shape, teacher: Shape) -> Adapter:
    """Average pooling to the teacher's positions, which are fewer; channels must be equal. No parameters.

    Raises:
        AdapterError: where a side is no map, channels differ, or the teacher's map is larger.
    """
    _both_maps("pool", student, teacher)
    _equal_channels("pool", student, teacher)
    if teacher[2] > student[2] or teacher[3] > student[3]:
        raise AdapterError(
            f"pool makes maps smaller; student gives {shown(student)}, teacher {shown(teacher)}. Use resize"
        )
    return Adapter([(_from_to("pool", student, teacher), nn.AdaptiveAvgPool2d((teacher[2], teacher[3])))])


def head(student: Shape, teacher: Shape, *, norm: bool = False) -> Adapter:
    """For activations whose channels stand last, (N, H, W, C), as Swin's do: brought to the front, then as ``conv1x1``.

    Channels stand last where the first two of three axes are equal and the third is not.

    Raises:
        AdapterError: where that is so on neither side.
    """
    if len(student) != 4 or len(teacher) != 4 or not (channels_last(student) or channels_last(teacher)):
        raise AdapterError(
            f"head is for (N, H, W, C), channels last, on a side; student gives {shown(student)}, teacher "
            f"{shown(teacher)}"
        )
    own, other = (_first(shape) for shape in (student, teacher))
    view = ("channels first", ChannelsFirst())
    steps = map_steps(own[1:], other[1:], norm=norm)
    return Adapter([*([view] if channels_last(student) else []), *steps], [view] if channels_last(teacher) else [])


def map_steps(student: Shape, teacher: Shape, *, norm: bool = False, always: bool = False) -> Steps:
    """What brings (C, H, W) to (D, H', W'), the cheapest order first.

    Args:
        student: without the batch.
        teacher: without the batch.
        norm: batch normalisation after the convolution.
        always: a convolution even where the channels are equal.
    """
    (own, *places), (other, *wanted) = student, teacher
    convolved: Steps = []
    if own != other or always:
        convolved.append((f"conv1x1 {own} -> {other}", nn.Conv2d(own, other, 1, bias=not norm)))
    if norm and convolved:
        convolved.append(("batch norm", nn.BatchNorm2d(other)))
    if places == wanted:
        return convolved
    smaller = wanted[0] <= places[0] and wanted[1] <= places[1]
    size = (wanted[0], wanted[1])
    words = f"{places[0]}x{places[1]} -> {wanted[0]}x{wanted[1]}"
    moved: Steps = [(f"pool {words}", nn.AdaptiveAvgPool2d(size))] if smaller else [(f"resize {words}", Resized(size))]
    # A convolution costs by the positions that it sees: the fewer of the two.
    fewer_first = wanted[0] * wanted[1] <= places[0] * places[1]
    return [*moved, *convolved] if fewer_first else [*convolved, *moved]


def channels_last(shape: Shape) -> bool:
    """Whether a shape of four axes looks like (N, H, W, C)."""
    return len(shape) == 4 and shape[1] == shape[2] != shape[3]


def _first(shape: Shape) -> Shape:
    return (shape[0], shape[3], shape[1], shape[2]) if channels_last(shape) else shape


def _from_to(what: str, student: Shape, teacher: Shape) -> str:
    return f"{what} {student[2]}x{student[3]} -> {teacher[2]}x{teacher[3]}"


def _both_maps(kind: str, student: Shape, teacher: Shape) -> None:
    if len(student) != 4 or len(teacher) != 4:
        raise AdapterError(f"{kind} is for maps (N, C, H, W); student gives {shown(student)}, teacher {shown(teacher)}")


def _equal_channels(kind: str, student: Shape, teacher: Shape) -> None:
    if student[1] != teacher[1]:
        raise AdapterError(
            f"{kind} leaves channels as they are; student gives {shown(student)}, teacher {shown(teacher)}. Use conv1x1"
        )
