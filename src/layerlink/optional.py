"""Packages that only some sources need: imported on use, and named with the extra that brings them."""

from __future__ import annotations

import importlib
from types import ModuleType

from layerlink.errors import LayerlinkError


def need(module: str, extra: str, what: str) -> ModuleType:
    """The module ``module``, imported now.

    Args:
        module: its full name, such as ``"pyarrow.parquet"``.
        extra: the extra of layerlink that installs it.
        what: what it is needed for, the subject of the error's sentence.

    Raises:
        LayerlinkError: where the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LayerlinkError(
            f"{what} needs the package {module.partition('.')[0]!r}, which cannot be imported ({error}). "
            f"Install it: pip install 'layerlink[{extra}]'"
        ) from error


def torch_release() -> tuple[int, int]:
    """Such as (2, 11), for what some releases of torch cannot do."""
    import torch  # not where help is all that is asked for

    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)
