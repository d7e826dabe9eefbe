"""SimKD's student: a network that ends in a projector and in a classifier as wide as its teacher's."""

from __future__ import annotations

from typing import Any

from torch import nn

from layerlink.errors import UsageError, unknown_name
from layerlink.losses.trained.simkd import projector


class Projected(nn.Module):
    """A layer, and the projector that comes after it.

    Args:
        layer: any; called as before.
        projector: of its maps.
    """

    def __init__(self, layer: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.layer, self.projector = layer, projector

    def forward(self, *inputs: Any) -> Any:
        """The layer's output, projected."""
        return self.projector(self.layer(*inputs))


def simkd(
    *,
    backbone: str = "resnet20",
    layer: str = "layer3",
    classifier: str = "linear",
    features: int = 64,
    factor: int = 2,
    **sizes: Any,
) -> nn.Module:
    """A student that reads images with its own layers and decides as its teacher does.

    Args:
        backbone: a model's name; its last map is widened, its classifier replaced.
        layer: the backbone's last map before pooling; its output is afterwards the projector's.
        classifier: the backbone's, one linear layer of the pooled map. Its place takes one of the teacher's width, for
            the teacher's own weights (``from_teacher`` and ``frozen`` of a recipe's student).
        features: that the teacher's classifier takes.
        factor: of the projector, >= 1.
        **sizes: passed on to the backbone.

    Raises:
        UsageError: where the backbone has no such layers, or its classifier is not one linear layer.

    Source: Chen et al. 2022 (CVPR 2022, arXiv 2203.14001), section 3: projector and classifier stay in the student, and
        count among its parameters.
    """
    from layerlink.models import build_model  # which names this model, too

    model = build_model(backbone, **sizes)
    layers = dict(model.named_modules())
    for path in (layer, classifier):
        if path not in layers:
            raise UsageError(unknown_name(f"layer of {backbone}", path, [name for name in layers if name]))
    last = layers[classifier]
    if not isinstance(last, nn.Linear):
        raise UsageError(f"simkd needs a classifier that is one nn.Linear; {classifier} is {type(last).__name__}")
    model.set_submodule(layer, Projected(layers[layer], projector(last.in_features, features, factor)))
    model.set_submodule(classifier, nn.Linear(features, last.out_features))
    return model
