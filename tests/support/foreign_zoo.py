"""Models of timm and torchvision with random weights; skipped where these are missing."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from typing import Any

import pytest
import torch
from torch import nn

_KEPT: list[torch.library.Library] = []  # what is declared ends with its library


def declare_torchvision() -> None:
    """Beside a torch of the CPU torchvision's own operators are missing, and it does not import: declared, it does."""
    if importlib.util.find_spec("torchvision") is None or "torchvision" in sys.modules:
        return
    for operator in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        with contextlib.suppress(RuntimeError):  # there already
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(operator)
            _KEPT.append(library)


def zoo_model(name: str, **arguments: Any) -> nn.Module:
    """``timm:NAME`` or ``torchvision:NAME``, 10 classes, in eval mode; its norms have seen something."""
    library, _, kind = name.partition(":")
    declare_torchvision()
    pytest.importorskip("torchvision", reason="timm imports it, too")
    package = pytest.importorskip(library)
    torch.manual_seed(0)
    if library == "timm":
        model: nn.Module = package.create_model(kind, num_classes=10, **arguments)
    else:
        model = getattr(importlib.import_module("torchvision.models"), kind)(num_classes=10, **arguments)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()
