from __future__ import annotations

import torch

from layerlink.adapters import fit


def test_the_convolution_is_a_matrix_on_every_pixel() -> None:
    adapter = fit((2, 3, 4, 5), (2, 6, 4, 5)).double()
    weight, bias = (parameter.detach() for parameter in adapter.parameters())
    inputs = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.einsum("dc,nchw->ndhw", weight[:, :, 0, 0], inputs) + bias.view(1, -1, 1, 1)
    assert torch.allclose(adapter(inputs), expected)


def test_pooling_is_the_mean_of_each_cell() -> None:
    inputs = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    expected = torch.stack(
        [
            torch.stack([inputs[:, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean((2, 3)) for j in range(2)], dim=-1)
            for i in range(2)
        ],
        dim=-2,
    )
    assert torch.allclose(fit((2, 3, 4, 6), (2, 3, 2, 2), "pool")(inputs), expected)


def test_resizing_is_bilinear_without_aligned_corners() -> None:
    inputs = torch.tensor([[[[0.0, 4.0]]]])
    # Four pixels of half the width: their centres lie at 1/4 and 3/4 of the old ones, clamped at the ends.
    assert fit((1, 1, 1, 2), (1, 1, 1, 4), "resize")(inputs).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]


def test_channels_that_stand_last_come_to_the_front() -> None:
    inputs = torch.randn(2, 4, 4, 3)
    adapter = fit((2, 4, 4, 3), (2, 3, 4, 4), "head")
    assert torch.equal(adapter(inputs), inputs.permute(0, 3, 1, 2))
    assert adapter.words == "channels first"
    teacher = torch.randn(2, 4, 4, 5)
    assert torch.equal(fit((2, 3, 4, 4), (2, 4, 4, 5), "head").prepare(teacher), teacher.permute(0, 3, 1, 2))
