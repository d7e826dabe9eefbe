"""Scale-decoupled distillation: the outputs that a classifier would give for the parts of an image."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.heads import linear_of
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_maps
from layerlink.losses.targets.classes import require_labelled
from layerlink.losses.targets.dkd import dkd_rows
from layerlink.losses.targets.nkd import nkd_rows


def sdd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    student_head: nn.Module,
    teacher_head: nn.Module,
    host: Literal["kd", "dkd", "nkd"] = "kd",
    temperature: float = 4.0,
    scales: tuple[int, ...] = (1, 2, 4),
    conflicting: float = 2.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    gamma: float = 1.5,
) -> Tensor:
    """Mean over examples and cells of ``w * host(z_s, z_t)``: z are a cell's logits, w tells cells that contradict.

    Both maps are average-pooled to k x k cells for every scale k, and each side's own classifier reads every cell. w is
    1 where the teacher is right in the cell as it is over the whole map, or wrong in both, and ``conflicting`` where
    one is right and the other wrong.

    Args:
        student: the last map before pooling (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W').
        labels: (N,) int64.
        student_head: its classifier, one linear layer; learns by this loss, too.
        teacher_head: its classifier, of the same classes; does not learn.
        host: what compares logits: "kd" (with T^2), "dkd" or "nkd".
        temperature: T > 0 of the host; nkd's authors have 1.
        scales: cells a side, each >= 1; 1 is the whole map, and the host alone where it is the only one.
        conflicting: w where cell and whole differ, >= 0.
        alpha: of dkd, >= 0.
        beta: of dkd, >= 0.
        gamma: of nkd, >= 0.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; 0 for equal logits, but with host nkd.

    Raises:
        ShapeError: where they are no maps of the same examples, or classifiers do not fit them or each other.
        UsageError: for an impossible option, or a classifier that is no linear layer.

    Source: Shi et al. 2024 (CVPR 2024, arXiv 2403.13512), section 3.2: SD-KD, SD-DKD and SD-NKD.
    Weight: 0.9 beside 0.1 of the labels with host kd; 1 beside 1 with dkd (``warmup=20``) and nkd.
    When: convolutional classifiers that end in average pooling and one linear layer, of images with several things.
    Cost: a softmax a side for each of 21 cells.
    """
    teacher = teacher.detach()
    require_maps("sdd", student, teacher)
    numbers = (temperature, conflicting, alpha, beta, gamma)
    if not isinstance(scales, tuple | list) or not scales or min(scales) < 1 or host not in ("kd", "dkd", "nkd"):
        raise UsageError(f"sdd: host is kd, dkd or nkd, scales a list of numbers >= 1; got {host!r}, {scales!r}")
    if not (temperature > 0 and min(numbers) >= 0):
        raise UsageError(f"sdd: temperature must be > 0, the others >= 0; got {', '.join(f'{it:g}' for it in numbers)}")
    cells = sum(scale**2 for scale in scales)
    repeated = labels.repeat(cells)
    own = _logits(student, student_head, scales)
    other = _logits(teacher, teacher_head, scales).detach()
    target = require_labelled("sdd", own, other, repeated)
    if host == "kd":
        rows = temperature**2 * divergences(own, other, temperature=temperature)
    elif host == "dkd":
        rows = temperature**2 * dkd_rows(own / temperature, other / temperature, target, alpha, beta)
    else:
        rows = nkd_rows(own, other, target, gamma, temperature)
    whole = _logits(teacher, teacher_head, (1,)).argmax(1) == labels
    contradicts = (other.argmax(1) == repeated) != whole.repeat(cells)
    return torch.where(contradicts, conflicting * rows, rows).mean()


def _logits(values: Tensor, head: nn.Module, scales: tuple[int, ...]) -> Tensor:
    """Of all cells, one scale after the other, each cell of all examples: (cells * N, classes)."""
    with own_digits(values):
        return torch.cat([F.linear(*_read(values, head, scale)) for scale in scales])


def _read(values: Tensor, head: nn.Module, scale: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features of the cells (cells * N, C), and what reads them."""
    weight, bias = linear_of("sdd", head)
    if weight.shape[1] != values.shape[1]:
        raise ShapeError(f"sdd needs maps of the classifier's {weight.shape[1]} features; got {tuple(values.shape)}")
    pooled = F.adaptive_avg_pool2d(at_least_float32(values), (scale, scale))
    features = pooled.flatten(2).permute(2, 0, 1).flatten(0, 1)
    return features, weight.to(features.dtype), None if bias is None else bias.to(features.dtype)
