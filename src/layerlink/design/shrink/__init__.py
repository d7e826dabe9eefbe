"""Which student to build: a teacher made smaller, started from its weights, written as plain PyTorch."""

from __future__ import annotations

from layerlink.design.shrink.shrinking import Shrunk as Shrunk
from layerlink.design.shrink.shrinking import shrink as shrink
