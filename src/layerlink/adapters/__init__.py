"""Adapters: the trainable shape-matchers of links. They belong to the distiller, never to the student."""

from __future__ import annotations

from layerlink.adapters.adapter import Adapter, AdapterError
from layerlink.adapters.fit import ADAPTERS, fit, kinds_that_fit

__all__ = ["ADAPTERS", "Adapter", "AdapterError", "fit", "kinds_that_fit"]
