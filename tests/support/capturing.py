"""What is compiled is captured and differentiated as for any compiler, and no kernels are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from layerlink.taps import program


@contextmanager
def capturing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs have eager's kernels, and none is made twice."""
    monkeypatch.setattr(program, "BACKEND", "aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()
