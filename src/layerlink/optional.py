"""Packages that only some sources need: imported on use, named with the extra that brings them, and kept from telling
their makers that they are used."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from layerlink.errors import LayerlinkError

# Imported or used without these, they send somebody's use to their makers, by default and unasked. What a user has set
# himself stays. OpenVINO has none: see design/export/formats/openvino.py.
_SILENT = {
    "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),  # of 1.29 on; without it a name for the machine is in ~/.cache, too
    "mlflow": ("MLFLOW_DISABLE_TELEMETRY", "true"),
    "nncf": ("NNCF_CI", "1"),  # which it reads for this alone
    "wandb": ("WANDB_ERROR_REPORTING", "false"),  # of its own faults, offline too
    **dict.fromkeys(("huggingface_hub", "transformers", "datasets", "trackio"), ("HF_HUB_DISABLE_TELEMETRY", "1")),
}


def need(module: str, extra: str, what: str) -> ModuleType:
    """The module ``module``, imported now. Nobody is told of its use, unless a variable that is set already wants it.

    Args:
        module: its full name, such as ``"pyarrow.parquet"``.
        extra: the extra of layerlink that installs it.
        what: what it is needed for, the subject of the error's sentence.

    Raises:
        LayerlinkError: where the package is not installed.
    """
    if silent := _SILENT.get(module.partition(".")[0]):
        os.environ.setdefault(*silent)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LayerlinkError(
            f"{what} needs the package {module.partition('.')[0]!r}, which cannot be imported ({error}). "
            f"Install it: pip install 'layerlink[{extra}]'"
        ) from error


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment has another value meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def torch_release() -> tuple[int, int]:
    """Such as (2, 11), for what some releases of torch cannot do."""
    import torch  # not where help is all that is asked for

    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)
