"""Mean squared error between hidden states."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.maps.mse import mse
from layerlink.losses.shapes import require_equal_shapes, require_tokens


def hidden_mse(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over tokens and features of ``(student - teacher)^2``: ``mse`` for sequences alone.

    Args:
        student: (N, L, D), any floating dtype.
        teacher: (N, L, D); where widths differ the link takes ``adapter=linear``.
        mask: bool (N, L), the tokens that count; the mean is over these.

    Returns:
        Scalar, float32 or wider, in squared units of the activations, >= 0; 0 for equal states.

    Raises:
        ShapeError: where they are no sequences of one shape.

    Source: Jiao et al. 2020 (TinyBERT, arXiv 1909.10351), eq. 8, without the linear map; Sun et al. 2020 (MobileBERT,
        arXiv 2004.02984), section 3.3.
    Weight: 1.
    When: layers of two transformers are to give the same states; ``pkd`` where only their direction is to agree.
    Cost: N L D.

    >>> import torch
    >>> hidden_mse(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), mask=torch.tensor([[True, False]]))
    tensor(1.)
    """
    require_tokens("hidden_mse", student, teacher)
    require_equal_shapes("hidden_mse", student, teacher)
    return mse(student, teacher.detach(), mask=mask)
