"""Channel-wise distillation: where on a map each channel stands out."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import cleared, mean_of, positions
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.shapes import at_least_float32, require_equal_shapes, require_maps


def cwd(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, temperature: float = 4.0) -> Tensor:
    """``T^2 * sum_i p_ti log(p_ti / p_si)``, mean over examples and channels: p is a softmax over a channel's
    positions.

    ``p = softmax(f / T)``; i goes over positions.

    Args:
        student: logits of a segmentation, or features, (N, C, H, W), any floating dtype.
        teacher: the same shape; of other channels or positions, with an adapter.
        mask: bool (N, H, W), the positions that count; an example counts by how many of its own do.
        temperature: T > 0, the divisor of both.

    Returns:
        Scalar in nats (times T^2), float32 or wider; 0 for maps that are equal up to a constant a channel.

    Raises:
        ShapeError: where the shapes differ or are no maps.
        UsageError: for an impossible temperature.

    Source: Shu et al. 2021 (ICCV 2021, arXiv 2011.13256), section 3.2.
    Differs: the mask, which the paper has not.
    Weight: 3 at the logits with T = 4; in other code 5 at logits and 10 a pyramid level with T = 1.
    When: dense predictions, whose channels are classes or parts.
    Cost: one pass over both maps.

    >>> import torch
    >>> f = torch.rand(2, 3, 4, 4)
    >>> abs(float(cwd(f, f))) < 1e-6
    True
    """
    teacher = teacher.detach()
    require_equal_shapes("cwd", student, teacher)
    require_maps("cwd", student, teacher)
    if not temperature > 0:
        raise UsageError(f"cwd: temperature must be > 0; got {temperature:g}")
    own, other = (at_least_float32(cleared("cwd", side, mask)) / temperature for side in (student, teacher))
    if mask is not None:
        hidden = ~positions("cwd", mask, student)
        # Not minus infinity: a channel of nothing else would be NaN. After the division, which could make it that.
        own, other = (side.masked_fill(hidden, torch.finfo(side.dtype).min / 2) for side in (own, other))
    rows = divergences(own.flatten(2), other.flatten(2), temperature=1.0)
    if mask is None:
        return temperature**2 * rows.mean()
    kept = mask.flatten(1)
    counted = rows.mean(1, keepdim=True) * kept
    return temperature**2 * mean_of(counted, kept)
