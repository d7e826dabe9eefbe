"""What a recipe may name as a model: a name below, or ``package.module:callable``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from layerlink.errors import UsageError, unknown_name
from layerlink.models.resnet import resnet8, resnet20, resnet32, resnet44, resnet56, resnet110
from layerlink.models.vgg import vgg7, vgg16
from layerlink.user_code import named, told

MODELS: dict[str, Callable[..., nn.Module]] = {
    "vgg16": vgg16,
    "vgg7": vgg7,
    **{make.__name__: make for make in (resnet8, resnet20, resnet32, resnet44, resnet56, resnet110)},
}


def build_model(name: str, /, **arguments: Any) -> nn.Module:
    """A new model.

    Args:
        name: a name in ``MODELS``, or ``package.module:callable`` for a callable of your own; the current folder
            is searched too.
        **arguments: passed on. The project's own take ``num_classes``, ``image_size``, ``channels`` and ``width``,
            ``vgg16`` and ``vgg7`` also ``batch_norm``.

    Returns:
        The module, in train mode, on the CPU, initialised from torch's global random state.

    Raises:
        UsageError: for a name that is not there, arguments that the callable does not take, or a callable that
            does not give an ``nn.Module``.

    >>> sum(p.numel() for p in build_model("vgg7", num_classes=10, image_size=32).parameters())
    6053002
    """
    make = find_model(name)
    try:
        signature = inspect.signature(make)
        signature.bind(**arguments)
    except TypeError as error:
        raise UsageError(f"model {name!r}: {error}. It takes {signature}") from None
    except ValueError as error:
        raise UsageError(f"model {name!r}: {error}") from None
    try:
        model = make(**arguments)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"model {name!r} could not be made: {told(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name!r} must give a torch.nn.Module; got {type(model).__name__}")
    return model


def find_model(name: str) -> Callable[..., Any]:
    """The callable that ``name`` stands for; imports the user's module where it names one.

    Raises:
        UsageError: where there is none.
    """
    if name in MODELS:
        return MODELS[name]
    if ":" not in name:
        raise UsageError(
            unknown_name("model", name, MODELS) + " A model of your own is named as package.module:callable"
        )
    result: Callable[..., Any] = named(name, "model")
    return result
