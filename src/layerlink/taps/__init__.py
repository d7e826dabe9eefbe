"""Taps: named read points in any model, and what reads them. Needs torch and nothing else."""

from __future__ import annotations

from layerlink.taps.activations import Activations
from layerlink.taps.observed import Observed
from layerlink.taps.recorder import Recorder, Recording
from layerlink.taps.tap import OUTPUT, Tap
from layerlink.taps.trace import trace

__all__ = ["OUTPUT", "Activations", "Observed", "Recorder", "Recording", "Tap", "trace"]
