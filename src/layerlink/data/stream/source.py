"""Encoded images of every part of a data set as a ``Source``: in memory where they fit, else streamed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlink.config.image_size import ImageSize, shown
from layerlink.data.folders.parts import ROLES
from layerlink.data.images import ImageSet, Source
from layerlink.data.splits import hold_out
from layerlink.data.stream.images import Streaming, images_from, pixel_bytes
from layerlink.data.stream.pictures import Pictures
from layerlink.errors import LayerlinkError, UsageError


@dataclass(frozen=True)
class Encoded:
    """The images of one part.

    Args:
        pictures: encoded.
        labels: one an image, >= 0.
    """

    pictures: Pictures
    labels: Sequence[int]


def source_from(
    parts: Mapping[str, Encoded],
    classes: tuple[str, ...],
    size: ImageSize,
    streaming: Streaming,
    *,
    skip_bad: bool,
    most_pixels: int,
    where: str,
) -> Source:
    """The source of parts that were found.

    Args:
        parts: by what they are used as: train, and where there are such validation and test.
        classes: names in label order.
        size: height and width to bring every image to, in pixels.
        streaming: when and how images are streamed.
        skip_bad: leave images out that cannot be used.
        most_pixels: that an image may have.
        where: the data, for messages.

    Raises:
        LayerlinkError: where images are too few, or one cannot be used.
    """
    count = sum(len(part.pictures) for part in parts.values())
    way = streaming if streaming.needed(count, size) else None
    images: dict[str, ImageSet] = {}
    bad: list[str] = []
    for name, part in parts.items():
        images[name], left_out = images_from(
            part.pictures, part.labels, classes, size, way, skip_bad=skip_bad, most_pixels=most_pixels
        )
        bad += left_out
        if not len(images[name]):
            raise LayerlinkError(f"{where}: {name} holds no image that can be used{f': {bad[0]}' if bad else ''}")
    if "test" not in images:
        have = len(images["train"])
        if have < 5:
            raise LayerlinkError(
                f"{where}: expected at least 5 images, a fifth to be kept apart as the test set; got {have}. Add "
                "images, or a part that is named test."
            )
        images["train"], images["test"] = hold_out(images["train"], have // 5)
    notes = () if way is None else (why_streamed(count, size, way, "images"),)
    return Source(images["train"], images["test"], tuple(bad), images.get("validation"), notes)


def why_streamed(count: int, size: ImageSize, way: Streaming, what: str, channels: int = 3) -> str:
    """What is to be said of images that are streamed.

    Args:
        count: how many.
        size: of each.
        way: how.
        what: they are called.
        channels: bytes a pixel that they would take.
    """
    return (
        f"{count:,} {what} of {shown(size)} pixels would take {pixel_bytes(count, size, channels) / 1e9:.1f} GB, more "
        f"than data.memory_gb: they are read from disk by {max(way.processes, 1)} processes; mean and deviation "
        "are those of some of them, and copies among them are not looked for"
    )


def by_role(root: Path, files: Sequence[Path], kind: str) -> dict[str, list[Path]]:
    """Files by what their names or folders say that they are for: train, validation or test; all to train on else.

    Args:
        root: the folder that they lie in.
        files: in order.
        kind: what they are, for messages.

    Raises:
        UsageError: where some say it and others do not, or none is to train on.
    """
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(_role(path.relative_to(root)), []).append(path)
    silent = found.pop("", [])
    if not found:
        return {"train": silent}
    if silent:
        names = ", ".join(str(path.relative_to(root)) for path in silent[:5])
        raise UsageError(
            f"{root}: {len(silent)} of {len(files)} {kind} files do not say what they are for, others do: {names}. "
            "Put train, val or test into their names or folders"
        )
    if "train" not in found:
        raise UsageError(f"{root}: no {kind} file is called train; there are {', '.join(sorted(found))}")
    return {name: found[name] for name in ("train", "validation", "test") if name in found}


def _role(path: Path) -> str:
    for part in (path.stem, *reversed(path.parent.parts)):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in ROLES:
                return ROLES[word]
    return ""
