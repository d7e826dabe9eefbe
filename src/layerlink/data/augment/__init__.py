"""What is drawn for every view, beside crop and flip: windows, colours, operations, erased squares, mixed images."""

from __future__ import annotations

from layerlink.data.augment.augmentation import Augmentation
from layerlink.data.augment.mixing import Mixing

__all__ = ["Augmentation", "Mixing"]
