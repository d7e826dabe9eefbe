"""Images or texts in, batches out: sources that a recipe may name, and their parts to train, validate and test on."""

from __future__ import annotations

from layerlink.data.batches import Batch, Batches
from layerlink.data.examples import Examples
from layerlink.data.images import ImageSet, Source
from layerlink.data.normalisation import channel_statistics, normalisation
from layerlink.data.sources.table import SOURCES, load_source
from layerlink.data.splits import split
from layerlink.data.text.sequences import SequenceSet, SequenceViews
from layerlink.data.text.textset import TextSet
from layerlink.data.text.views import TextViews
from layerlink.data.views import Views

__all__ = [
    "SOURCES",
    "Batch",
    "Batches",
    "Examples",
    "ImageSet",
    "SequenceSet",
    "SequenceViews",
    "Source",
    "TextSet",
    "TextViews",
    "Views",
    "channel_statistics",
    "load_source",
    "normalisation",
    "split",
]
