from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from layerlink.data.augment import colour
from layerlink.data.augment.policy import COLOURS, MOVES, OPERATIONS, apply, apply_to_maps

FACTOR = 1.4


def picture() -> tuple[Tensor, Image.Image]:
    values = torch.randint(30, 220, (40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return values.permute(2, 0, 1)[None].float(), Image.fromarray(values.numpy())


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        (colour.brightness, ImageEnhance.Brightness, 1),
        (colour.contrast, ImageEnhance.Contrast, 1.5),
        (colour.saturation, ImageEnhance.Color, 1.5),
        (colour.sharpness, ImageEnhance.Sharpness, 1.5),
    ],
)
@pytest.mark.parametrize("factor", [FACTOR, 0.6])
def test_changes_are_pillows_up_to_rounding(ours: object, theirs: object, allowed: float, factor: float) -> None:
    images, image = picture()
    found = ours(images, torch.tensor([factor]))  # type: ignore[operator]
    expected = pixels(theirs(image).enhance(factor))  # type: ignore[operator]
    assert float((found - expected).abs().max()) <= allowed
    assert not torch.equal(found, images)


def test_operations_on_values_are_pillows() -> None:
    images, image = picture()
    assert torch.equal(colour.solarize(images, torch.tensor([128.0])), pixels(ImageOps.solarize(image, 128)))
    assert torch.equal(colour.posterize(images, torch.tensor([4.0])), pixels(ImageOps.posterize(image, 4)))
    assert float((colour.autocontrast(images) - pixels(ImageOps.autocontrast(image))).abs().max()) <= 1


def test_equalised_values_are_spread_evenly() -> None:
    values = torch.randint(30, 220, (200, 255, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images, image = values.permute(2, 0, 1)[None].float(), Image.fromarray(values.numpy())
    found = colour.equalize(images)
    assert float(found.min()) == 0
    assert float(found.max()) == 255
    counts = torch.histc(found[0, 0], 8, 0, 256) / found[0, 0].numel()
    assert float((counts - 1 / 8).abs().max()) < 0.02
    assert float((found - pixels(ImageOps.equalize(image))).abs().mean()) < 1.5  # Pillow's steps are whole numbers
    flat = torch.full((1, 3, 4, 4), 7.0)
    assert torch.equal(colour.equalize(flat), flat)
    assert torch.equal(colour.autocontrast(flat), flat)


def test_hue_keeps_luma_and_a_whole_turn_is_none() -> None:
    images = 100 + (picture()[0] - 125) * 0.3
    turned = colour.hue(images, torch.tensor([0.25]))
    assert float((colour.grey(turned) - colour.grey(images)).abs().max()) < 1
    assert float((turned - images).abs().max()) > 10
    assert float((colour.hue(images, torch.tensor([1.0])) - images).abs().max()) < 1
    grey = torch.full((1, 1, 4, 4), 80.0)
    assert torch.equal(colour.hue(grey, torch.tensor([0.3])), grey)
    assert torch.equal(colour.saturation(grey, torch.tensor([0.3])), grey)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_no_strength_changes_nothing_and_maps_move_as_images(name: str) -> None:
    images = torch.stack([picture()[0][0, :, :40, :48]] * 2)
    which, sign = torch.full((2,), OPERATIONS.index(name)), torch.tensor([1.0, -1.0]).double()
    if name not in ("autocontrast", "equalize"):
        assert float((apply(images, which, sign, 0.0) - images).abs().max()) < 1e-2
    strong = apply(images, which, sign, 0.9)
    assert (name == "identity") == torch.equal(strong, images)
    squares = torch.zeros(2, 40, 48, dtype=torch.uint8)
    squares[:, 12:28, 16:32] = 1
    moved = apply_to_maps(squares, which, sign, 0.6, 7)
    if name in COLOURS:
        assert torch.equal(moved, squares)
        return
    seen = apply(squares[:, None].float() * 255, which, sign, 0.6)[:, 0]
    away = (seen > 254) | (seen < 1)  # not on the edge of the square
    assert bool(((seen > 254) == (moved == 1))[away].all())
    assert bool((moved == 7).any())
    assert float(away.float().mean()) > 0.9


def test_a_turn_is_a_turn_and_a_move_goes_as_far_as_said() -> None:
    assert set(MOVES) == {"rotate", "shear-x", "shear-y", "translate-x", "translate-y"}
    bar = torch.zeros(1, 1, 41, 61)
    bar[:, :, 19:22, 10:51] = 255
    turned = apply(bar, torch.tensor([OPERATIONS.index("rotate")]), torch.tensor([1.0]).double(), 1.0)[0, 0]
    expected = np.asarray(Image.fromarray(bar[0, 0].numpy().astype(np.uint8)).rotate(30, Image.Resampling.BILINEAR))
    assert float((turned - torch.from_numpy(expected.astype(np.float32))).abs().mean()) < 3
    moved = apply(
        bar, torch.tensor([OPERATIONS.index("translate-y")]), torch.tensor([-1.0]).double(), 20 / 41 / 0.45 / 2
    )
    assert int(moved[0, 0, :, 30].argmax()) == 29 - 1 + 1  # 19 and 10 of 41 rows further down


def test_a_policy_gives_black_only_where_something_moved_in() -> None:
    white = torch.full((14, 1, 16, 16), 255.0)
    found = apply(white, torch.arange(14), torch.ones(14).double(), 0.5)
    black = [name for place, name in enumerate(OPERATIONS) if bool((found[place] == 0).any())]
    assert set(black) == {*MOVES, "solarize"}
