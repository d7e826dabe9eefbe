"""Factor transfer without its paraphraser: how normalised maps differ, by their size and not by its square."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.maps.at import attention
from layerlink.losses.shapes import at_least_float32, require_equal_shapes, require_maps, to_smaller_map, unit


def ft(
    student: Tensor, teacher: Tensor, *, form: Literal["attention", "factor"] = "attention", p: float = 1.0
) -> Tensor:
    """Mean over examples and elements of ``|a_s - a_t|^p``: a is the L2-normalised factor of a map.

    As "attention" it is the mean over channels of ``f^2``, the larger map being average-pooled to the smaller one
    before; channels may differ. As "factor" it is the whole map, which is then of one shape on both sides: an adapter
    is the paper's translator.

    Args:
        student: (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W').
        form: "attention", or "factor", the paper's distance of whole maps.
        p: exponent of the difference, >= 1; 1 and 2 are the paper's.

    Returns:
        Scalar, float32 or wider, >= 0; 0 for equal factors. The activations' scale does not matter.

    Raises:
        ShapeError: where they are no maps of the same examples, or in the form "factor" their shapes differ.
        UsageError: for an impossible option.

    Source: Kim, Park & Kwak 2018 (arXiv 1802.04977), eq. 3.
    Differs: the paper compares what a paraphraser, trained for 30 epochs before on the teacher's maps, and a translator
    make of the maps (rate 0.5). Neither is here: "attention" is the normalised sum over channels alone, and published
    figures of FT are not to be expected of it. The mean stands in place of the norm, as code in use takes it.
    Weight: 200 a link.
    When: as ``at``, where differences are to count by their size and not by its square.
    Cost: one pass over both maps.

    >>> import torch
    >>> f = torch.rand(2, 3, 4, 4)
    >>> float(ft(f, 3 * f)) < 1e-6
    True
    """
    teacher = teacher.detach()
    require_maps("ft", student, teacher)
    if form not in ("attention", "factor"):
        raise UsageError(f"ft: form must be 'attention' or 'factor'; got {form!r}")
    if not p >= 1:
        raise UsageError(f"ft: p must be >= 1; got {p:g}")
    own, other = at_least_float32(student), at_least_float32(teacher)
    if form == "factor":
        require_equal_shapes("ft", student, teacher)
        apart = unit(own.flatten(1), 1) - unit(other.flatten(1), 1)
    else:
        own, other = to_smaller_map(own, other)
        apart = attention(own, 2) - attention(other, 2)
    return (apart.abs() if p == 1 else apart.abs() ** p).mean()
