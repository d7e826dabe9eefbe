"""VGG-16 and VGG-7 of the study, layer for layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize, plain, sides
from layerlink.errors import UsageError

VGG16_GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG7_GROUPS = ((64,), (128,), (256,), (512,), (512,))
HIDDEN_UNITS = 4096


class VGG(nn.Module):
    """Five groups of 3x3 convolutions, each followed by a 2x2 max-pool, then fully connected layers.

    Layer names are the study's links: ``group1`` .. ``group5`` give the activation after the group's last ReLU,
    before the pool (links 1-5); ``group3.1`` that of its second convolution; ``hidden`` the last hidden
    activation (link 6); ``output`` the logits.

    Args:
        groups: the convolutions' channels, group by group.
        hidden_layers: how many fully connected layers of 4096 * width units precede the output.
        num_classes: C >= 2.
        image_size: pixels of the input, of a square or (height, width), multiples of 32.
        channels: of the input, 3 for RGB.
        width: multiplies the channels and hidden units, > 0; at least 1 remains.
        batch_norm: batch normalisation between convolution and ReLU; the convolution has no bias then.

    Raises:
        UsageError: for impossible values, all at once.

    Source: Simonyan & Zisserman 2014 (arXiv 1409.1556), configuration D; VGG-7 and link names from Kiehl &
    Remme 2017. Initialisation: He et al. 2015 (arXiv 1502.01852), eq. 10, for every layer; biases 0.
    Differs: no dropout (the study names none).
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        hidden_layers: int,
        *,
        num_classes: int,
        image_size: ImageSize,
        channels: int = 3,
        width: float = 1.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        _check(num_classes=num_classes, image_size=image_size, channels=channels, width=width)
        self.image_size = image_size
        self.channels = channels
        self.num_classes = num_classes
        features = channels
        for index, group in enumerate(groups, start=1):
            layers = []
            for base in group:
                layers.append(_convolution(features, _scaled(base, width), batch_norm=batch_norm))
                features = _scaled(base, width)
            self.add_module(f"group{index}", nn.Sequential(*layers))
            self.add_module(f"pool{index}", nn.MaxPool2d(2))
        features *= math.prod(side // 32 for side in sides(image_size))
        units = _scaled(HIDDEN_UNITS, width)
        for index in range(1, hidden_layers + 1):
            name = "hidden" if index == hidden_layers else f"hidden{index}"
            self.add_module(name, nn.Sequential(nn.Linear(features, units), nn.ReLU(inplace=True)))
            features = units
        self.output = nn.Linear(features, num_classes)
        self._hidden_names = [name for name, _ in self.named_children() if name.startswith("hidden")]
        self.apply(_he_normal)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, height, width)."""
        expected = (self.channels, *sides(self.image_size))
        if images.shape[1:] != expected:
            raise UsageError(
                f"this model takes images (N, {', '.join(map(str, expected))}); got {tuple(images.shape)}. "
                "Build it with the data's channels and image_size"
            )
        x = images
        for index in range(1, 6):
            x = self.get_submodule(f"pool{index}")(self.get_submodule(f"group{index}")(x))
        x = x.flatten(1)
        for name in self._hidden_names:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.output(x)
        return logits


def vgg16(
    *, num_classes: int, image_size: ImageSize, channels: int = 3, width: float = 1.0, batch_norm: bool = False
) -> VGG:
    """The study's teacher: 13 convolutions, 2 hidden layers. Arguments as for ``VGG``."""
    return VGG(
        VGG16_GROUPS,
        2,
        num_classes=num_classes,
        image_size=image_size,
        channels=channels,
        width=width,
        batch_norm=batch_norm,
    )


def vgg7(
    *, num_classes: int, image_size: ImageSize, channels: int = 3, width: float = 1.0, batch_norm: bool = False
) -> VGG:
    """The study's student: 5 convolutions, 1 hidden layer. Arguments as for ``VGG``."""
    return VGG(
        VGG7_GROUPS,
        1,
        num_classes=num_classes,
        image_size=image_size,
        channels=channels,
        width=width,
        batch_norm=batch_norm,
    )


def _convolution(inputs: int, outputs: int, *, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def _scaled(count: int, width: float) -> int:
    return max(1, round(count * width))


def _he_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)


def _check(*, num_classes: int, image_size: ImageSize, channels: int, width: float) -> None:
    problems = []
    if num_classes < 2:
        problems.append(f"num_classes must be at least 2; got {num_classes}")
    if any(side < 32 or side % 32 for side in sides(image_size)):
        problems.append(f"image_size must be a multiple of 32 (five pools halve it); got {plain(image_size)}")
    if channels < 1:
        problems.append(f"channels must be at least 1; got {channels}")
    if not width > 0:
        problems.append(f"width must be greater than 0; got {width}")
    if problems:
        raise UsageError("VGG: " + "; ".join(problems))
