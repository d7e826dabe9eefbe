"""layerlink: multi-layer knowledge transfer for neural networks.

A big, frozen teacher teaches a small student through the labels, through its softened outputs, and through any
set of links between intermediate layers. The names below are loaded when they are used, so that a loop which
wants only the losses loads only those.
"""

import sys

# ``python -m layerlink`` searches the working folder before everything else, and a torch.py there would be torch.
# Only what
# a recipe names is looked for there (user_code.py), and last. It stands before every other import.
if (
    sys.argv[:1] == ["-m"]
    and not getattr(sys.flags, "safe_path", False)
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == "layerlink"
):
    del sys.path[0]

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from layerlink import adapters as adapters
    from layerlink import losses as losses
    from layerlink import models as models
    from layerlink import taps as taps
    from layerlink import tasks as tasks
    from layerlink import teachers as teachers
    from layerlink import transfer as transfer
    from layerlink.adapters import ADAPTERS as ADAPTERS
    from layerlink.design.export import export as export
    from layerlink.design.propose import propose as propose
    from layerlink.design.shrink import shrink as shrink
    from layerlink.design.use import load as load
    from layerlink.errors import LayerlinkError as LayerlinkError
    from layerlink.errors import UsageError as UsageError
    from layerlink.losses import LINK_LOSSES as LINK_LOSSES
    from layerlink.losses import LOSSES as LOSSES
    from layerlink.losses import Facts as Facts
    from layerlink.losses import loss as loss
    from layerlink.measure.layers import layers as layers
    from layerlink.models import MODELS as MODELS
    from layerlink.models import build_model as build_model
    from layerlink.tasks import TASKS as TASKS
    from layerlink.tasks import CausalLM as CausalLM
    from layerlink.tasks import Classification as Classification
    from layerlink.tasks import MultiLabel as MultiLabel
    from layerlink.tasks import Regression as Regression
    from layerlink.tasks import Segmentation as Segmentation
    from layerlink.tasks import SequenceLabelling as SequenceLabelling
    from layerlink.tasks import Task as Task
    from layerlink.transfer import Activations as Activations
    from layerlink.transfer import Distiller as Distiller
    from layerlink.transfer import Hard as Hard
    from layerlink.transfer import Link as Link
    from layerlink.transfer import Losses as Losses
    from layerlink.transfer import Objective as Objective
    from layerlink.transfer import Soft as Soft
    from layerlink.transfer import Tap as Tap
    from layerlink.transfer import Teacher as Teacher
    from layerlink.transfer import inspect_links as inspect_links

_HOMES = {
    "LayerlinkError": "errors",
    "UsageError": "errors",
    "ADAPTERS": "adapters",
    **dict.fromkeys(("LINK_LOSSES", "LOSSES", "Facts", "loss"), "losses"),
    "layers": "measure.layers",
    "export": "design.export",
    "propose": "design.propose",
    "load": "design.use",
    "shrink": "design.shrink",
    "MODELS": "models",
    "build_model": "models",
    **dict.fromkeys(
        (
            "TASKS",
            "CausalLM",
            "Classification",
            "MultiLabel",
            "Regression",
            "Segmentation",
            "SequenceLabelling",
            "Task",
        ),
        "tasks",
    ),
    **dict.fromkeys(
        (
            "Activations",
            "Distiller",
            "Hard",
            "Link",
            "Losses",
            "Objective",
            "Soft",
            "Tap",
            "Teacher",
            "inspect_links",
        ),
        "transfer",
    ),
}

_ROOMS = ("adapters", "losses", "models", "taps", "tasks", "teachers", "transfer")  # ``layerlink.losses.dkd(...)``

__all__ = ["__version__", *_HOMES, *_ROOMS]  # noqa: PLE0604 - names from the table above


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"layerlink.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"layerlink.{name}")
    raise AttributeError(f"module 'layerlink' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
