"""Probabilistic knowledge transfer: which examples of a batch are near each other, as probabilities."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.relations.gram import cosines
from layerlink.losses.shapes import require_same_batch

EPSILON = 1e-7


def pkt(student: Tensor, teacher: Tensor, *, form: Literal["mean", "paper"] = "mean") -> Tensor:
    """Mean over pairs of examples of ``p_t log(p_t / p_s)``: p is ``(cos + 1) / 2``, each row divided by its sum.

    Args:
        student: (N, ...), flattened; any floating dtype.
        teacher: (N, ...); everything but the batch may differ.
        form: "mean" over all N^2 pairs, an example with itself among them; "paper" is the sum over pairs of two
            examples, whose probabilities leave out the example itself.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to 1e-7; 0 for equal cosines. The activations' scale does not matter.

    Raises:
        ShapeError: where they are not of the same examples.
        UsageError: for an impossible option.

    Source: Passalis & Tefas 2018 (arXiv 1803.10837), with the cosine kernel.
    Differs: by default the mean over N^2 and probabilities that sum to 1 with the example itself, as code in use has
        them; ``form="paper"`` is the paper's. 1e-7 is added to both probabilities inside the logarithm.
    Weight: 30000, at the pooled feature ("mean").
    When: widths differ and only what is near what shall be learnt.
    Cost: N^2 D time, N^2 memory.

    >>> import torch
    >>> f = torch.rand(4, 3)
    >>> float(pkt(f, 2 * f)) < 1e-12
    True
    """
    require_same_batch("pkt", student, teacher)
    if form not in ("mean", "paper"):
        raise UsageError(f"pkt: form must be 'mean' or 'paper'; got {form!r}")
    own, other = (_probabilities(side, itself=form == "mean") for side in (student, teacher.detach()))
    terms = other * ((other + EPSILON) / (own + EPSILON)).log()
    return terms.mean() if form == "mean" else terms.sum()


def _probabilities(values: Tensor, *, itself: bool) -> Tensor:
    """(N, N), rows of sum 1; with ``itself`` False 0 on the diagonal."""
    near = (cosines(values).clamp_min(-1) + 1) / 2  # rounding makes cosines of -1.0000001
    if not itself:
        near = near * (1 - torch.eye(len(near), dtype=near.dtype, device=near.device))
    return near / near.sum(1, keepdim=True).clamp_min(EPSILON)
