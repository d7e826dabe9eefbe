"""Cross-image relations: which pixels of the other images of the batch each pixel is like."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.in_pieces import rows_at_once, slices, sum_in_pieces
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.relations.gram import gram
from layerlink.losses.shapes import at_least_float32, require_maps, to_smaller_map, unit

SCORES = 1 << 19  # that a processor's cache holds


def cirkd(student: Tensor, teacher: Tensor, *, temperature: float = 0.1, pool: int = 1) -> Tensor:
    """Mean over pairs of images and pixels of ``KL(softmax(c_t / T) || softmax(c_s / T))``, c cosines between pixels.

    Each pixel of an image has one distribution over the pixels of every image of the batch, itself among them. The
    larger map is average-pooled to the smaller one before that.

    Args:
        student: (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W'); channels may differ.
        temperature: T > 0.
        pool: both maps are average-pooled over cells of pool x pool pixels, >= 1.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; 0 for equal cosines. The activations' scale does not
        matter.

    Raises:
        ShapeError: where they are no maps of the same examples.
        UsageError: for an impossible option.

    Source: Yang et al. 2022 (CIRKD, arXiv 2204.06986), the mini-batch pixel-to-pixel part; without the memory of
        earlier batches.
    Differs: code in use takes logits or features of one size; here the larger map is pooled.
    Weight: 1, with T = 0.1, at the map before the classifier of a segmentation network.
    When: dense prediction, where the same class stands in several images of a batch.
    Cost: (N H W)^2 time, and memory of some images' rows of it; ``pool=2`` takes a 16th.
    """
    require_maps("cirkd", student, teacher)
    if not temperature > 0 or pool < 1:
        raise UsageError(f"cirkd: temperature must be > 0, pool >= 1; got {temperature:g}, {pool}")
    own, other = to_smaller_map(at_least_float32(student), at_least_float32(teacher.detach()))
    own, other = (_pixels(side, pool) for side in (own, other))
    count, places = own.shape[:2]

    def differ(own: Tensor, some: slice) -> Tensor:
        rows = (gram(side[some].flatten(0, 1), side.flatten(0, 1)) for side in (own, other))
        scores = (row.view(-1, count, places) for row in rows)
        return divergences(*scores, temperature=temperature).sum()

    images = rows_at_once(places * count * places, own.device, SCORES)
    return sum_in_pieces(differ, own, slices(count, images)) / (count * places * count)


def _pixels(values: Tensor, pool: int) -> Tensor:
    """(N, H W, C), of length 1 each."""
    if pool > 1:
        values = F.avg_pool2d(values, pool, ceil_mode=True)
    return unit(values, 1).flatten(2).transpose(1, 2)
