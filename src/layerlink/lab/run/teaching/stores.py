"""A teacher's stores: which of its tensors are kept on disk, how they get there, and whether they still hold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.cache import cache_folder
from layerlink.files.paths import expanded
from layerlink.lab.recipe.schema import StoreSection
from layerlink.lab.run.interruption import stop_before_the_next
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.teaching.keys import Item, StoreKeys, folder_name, name_of
from layerlink.lab.run.watch import Watch
from layerlink.teachers.store.store import StoreDtype, bytes_of_store
from layerlink.transfer import Activations, LiveTeacher, StoreWriter, TensorStore

SHARE_OF_DISK = 0.9  # of what is free
CHECKED_IMAGES = 8  # are computed again when a store is opened
# What batches of other sizes change in a tensor, relative RMS: rounding, TF32 on a GPU. Wrong rows differ by about 1.
ARITHMETIC_ERROR = {"float32": 5e-3, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Stores:
    """The stores of one teacher on one set of images: a folder for every tensor and view.

    Args:
        setup: images, arithmetic, device.
        live: computes everything that may be stored.
        section: the recipe's.
        keys: of the tensors.
    """

    setup: Setup
    live: LiveTeacher
    section: StoreSection
    keys: StoreKeys

    @property
    def root(self) -> Path:
        """The folder that holds the stores' folders.

        Raises:
            UsageError: where none is named and there is no home folder.
        """
        cache = cache_folder()
        if self.section.root is not None:
            return expanded(self.section.root)
        if cache is None:
            raise UsageError("teacher.store: there is no home folder to keep it in; set teacher.store.root=FOLDER")
        return cache / "stores"

    def dtype(self, item: Item) -> StoreDtype:
        """How a tensor is kept: the logits are small, and softmax magnifies their errors."""
        return "float32" if item is None else self.section.dtype

    def key(self, item: Item, epoch: int | None = None) -> dict[str, object]:
        """A tensor's key."""
        return self.keys.key(item, self.dtype(item), epoch)

    def folder(self, item: Item, epoch: int | None = None) -> Path:
        """A tensor's folder."""
        return self.root / folder_name(self.key(item, epoch))

    def sizes(self) -> dict[Item, int]:
        """Bytes of every tensor for all training images, in the order of storing: logits, then the deepest layer."""
        images = self.setup.images
        with self.setup.arithmetic():
            sample = by_item(self.live(images.views(images.train.images[:2])))
        rows, chunks = len(images.train), len(self.setup.batches)
        # Taps stand in the order in which they ran. Whatever is shallower than a computed one costs nothing more.
        order: list[Item] = [item for item in (None,) if item in sample]
        order += [item for item in reversed(sample) if item is not None]
        return {item: bytes_of_store(rows, tuple(sample[item].shape[1:]), self.dtype(item), chunks) for item in order}

    def fitting(self, sizes: Mapping[Item, int]) -> tuple[list[Item], str]:
        """The first tensors that budget and disk have room for, and why the others are left out."""
        fitting: list[Item] = []
        total = added = 0
        for item, size in sizes.items():
            total += size
            added += 0 if self.folder(item).exists() else size
            if total > 1e9 * self.section.budget_gb:
                return fitting, f"over the budget of {self.section.budget_gb:g} GB"
            if added > SHARE_OF_DISK * free_bytes(self.root):
                return fitting, f"the disk has {free_bytes(self.root) / 1e9:.1f} GB free"
            fitting.append(item)
        return fitting, ""

    def fill(self, items: Sequence[Item], watch: Watch) -> None:
        """Send every training image through the teacher, once, and keep ``items``; those that are there stay."""
        missing = [item for item in items if not self.folder(item).exists()]
        if not missing:
            return
        taps = [item for item in missing if item is not None]
        live = LiveTeacher(self.live.model, taps, logits=None in missing, element=self.live.element)
        batches, total, done = self.setup.batches, len(self.setup.images.train), 0
        with ExitStack() as stack:
            writers = {item: stack.enter_context(self.writer(item)) for item in missing}
            with self.setup.arithmetic():
                for batch in batches.in_order():
                    given = by_item(live(batch.images))
                    for item, writer in writers.items():
                        _add(writer, item, given[item])
                    done += len(batch.labels)
                    watch.progress("storing what the teacher gives", done, total)
                    stop_before_the_next()  # of a sweep; elsewhere Ctrl-C stops it as it stands

    def writer(self, item: Item, epoch: int | None = None) -> StoreWriter:
        """Writes a tensor's store."""
        folder, key = self.folder(item, epoch), self.key(item, epoch)
        return StoreWriter(folder, key, rows=len(self.setup.images.train), dtype=self.dtype(item))

    def open(self, items: Sequence[Item], epoch: int | None = None) -> dict[Item, TensorStore]:
        """The stores of ``items``, each compared with what the teacher gives now for a few images.

        Raises:
            LayerlinkError: where one is damaged, of something else, or does not hold what the teacher gives.
        """
        stores = {item: TensorStore(self.folder(item, epoch), self.key(item, epoch)) for item in items}
        train = self.setup.images.train
        count = min(CHECKED_IMAGES, len(train))
        indices = torch.linspace(0, len(train) - 1, count, dtype=torch.float64).round().long().to(train.labels.device)
        taps = [item for item in items if item is not None]
        live = LiveTeacher(self.live.model, taps, logits=None in items, element=self.live.element)
        with self.setup.arithmetic():
            given = by_item(live(self.setup.images.views(train.images[indices], indices, epoch)))
        for item, store in stores.items():
            allowed = 4 * store.error + ARITHMETIC_ERROR[self.setup.precision]
            off = relative_error(store.read(indices), given[item])
            if not off <= allowed:
                raise LayerlinkError(
                    f"teacher.store: {store.folder} does not hold what the teacher gives: {name_of(item)} of {count} "
                    f"images, computed again, is {100 * off:.3g} % off; expected at most {100 * allowed:.3g} %. "
                    "Delete the folder: it is filled again"
                )
        return stores


def _add(writer: StoreWriter, item: Item, values: Tensor) -> None:
    try:
        writer.add(values)
    except LayerlinkError as error:
        raise LayerlinkError(f"teacher.store: {name_of(item)} cannot be stored. {error}") from error


def by_item(given: Activations) -> dict[Item, Tensor]:
    """Everything that a teacher gave, logits first.

    Raises:
        LayerlinkError: where a tap could not be read.
    """
    for problem in given.problems.values():
        raise LayerlinkError(f"teacher.store: {problem}")
    tensors: dict[Item, Tensor] = {} if given.logits is None else {None: given.logits}
    for tap, values in given.taps.items():
        tensors[tap] = values
    return tensors


def relative_error(values: Tensor, reference: Tensor) -> float:
    """Root mean square of the difference over that of the reference; 0 where there is no difference."""
    off = float((values.float() - reference.float()).norm())
    return off / max(float(reference.float().norm()), 1e-30) if off else 0.0


def free_bytes(folder: Path) -> int:
    """What the disk of ``folder``, which need not exist yet, has room for."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
