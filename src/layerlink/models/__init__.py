"""What a recipe may name as a model: a name below, ``hf:NAME_OR_FOLDER``, or ``package.module:callable``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from layerlink.errors import UsageError, unknown_name
from layerlink.models.mobilenet import mobilenet_v2
from layerlink.models.resnet import (
    resnet8,
    resnet8x4,
    resnet20,
    resnet32,
    resnet32x4,
    resnet44,
    resnet56,
    resnet110,
)
from layerlink.models.shufflenet import shufflenet_v1
from layerlink.models.shufflenet_v2 import shufflenet_v2
from layerlink.models.simkd import simkd
from layerlink.models.small_vgg import vgg8, vgg13
from layerlink.models.unet import unet
from layerlink.models.vgg import vgg7, vgg16
from layerlink.models.wide_resnet import wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2
from layerlink.user_code import HUB, named, told

MODELS: dict[str, Callable[..., nn.Module]] = {
    "vgg16": vgg16,
    "vgg7": vgg7,
    **{make.__name__: make for make in (resnet8, resnet20, resnet32, resnet44, resnet56, resnet110)},
    **{make.__name__: make for make in (resnet8x4, resnet32x4, vgg8, vgg13, wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2)},
    **{make.__name__: make for make in (mobilenet_v2, shufflenet_v1, shufflenet_v2)},
    "simkd": simkd,
    "unet": unet,
}


def build_model(name: str, /, **arguments: Any) -> nn.Module:
    """A new model.

    Args:
        name: a name in ``MODELS``, ``hf:NAME_OR_FOLDER`` as ``hub_model`` takes it, or ``package.module:callable``
            for a callable of your own; the current folder is searched too.
        **arguments: passed on. The project's own take ``num_classes``, ``image_size``, ``channels`` and ``width``,
            ``vgg16`` and ``vgg7`` also ``batch_norm``, ``resnet8`` to ``resnet110`` ``shortcut``, ``unet``
            ``blocks``.

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
    if name in MODELS:
        _check_size(name, make, arguments)
    try:
        model = make(**arguments)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"model {name!r} could not be made: {_first_line(told(error))}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name!r} must give a torch.nn.Module; got {type(model).__name__}")
    return model


def _check_size(name: str, make: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` where the weights alone would not fit into this machine; nothing is allocated for that."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        with torch.device("meta"):
            size = sum(parameter.nbytes for parameter in make(**arguments).parameters())
    except Exception:  # noqa: BLE001 - not every system tells, and what is wrong with the arguments is told when it is made
        return
    if size > memory:
        raise UsageError(
            f"model {name!r} with {arguments} would have {size / 1e9:,.0f} GB of weights; this machine has "
            f"{memory / 1e9:,.0f} GB of memory"
        )


def _first_line(text: str) -> str:
    """Without the frames that torch prints below its errors."""
    return text.strip().split("\n", 1)[0]


def find_model(name: str) -> Callable[..., Any]:
    """The callable that ``name`` stands for; imports the user's module where it names one.

    Raises:
        UsageError: where there is none.
    """
    if name in MODELS:
        return MODELS[name]
    if name.startswith(HUB):
        from layerlink.models.hub import hub_model  # it reads files, which a loop of one's own has no use for

        return partial(hub_model, name.removeprefix(HUB))
    if ":" not in name:
        raise UsageError(
            unknown_name("model", name, MODELS) + " A model of your own is named as package.module:callable"
        )
    try:
        result: Callable[..., Any] = named(name, "model")
    except UsageError as error:
        package, _, kind = name.partition(":")
        if package == "timm":
            how = f"model: timm:create_model with arguments: {{model_name: {kind}}}"
            raise UsageError(f"{error} timm's models have one callable: {how}") from None
        raise
    return result
