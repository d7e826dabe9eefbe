"""From a recipe to what is trained."""

from __future__ import annotations

from layerlink.lab.run.setup.setup import Setup, set_up

__all__ = ["Setup", "set_up"]
