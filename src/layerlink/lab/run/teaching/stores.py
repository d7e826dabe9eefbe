"""A teacher's stores: which of its tensors are kept on disk, how they get there, and whether they still hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from layerlink.data import ImageSet, SequenceViews
from layerlink.data.copies import Fetching
from layerlink.data.examples import Inputs
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.cache import cache_folder
from layerlink.files.own import tag, why_no_key
from layerlink.files.paths import expanded
from layerlink.lab.recipe.models import StoreSection
from layerlink.lab.run.interruption import stop_before_the_next
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.teaching.keys import StoreKeys, folder_name, name_of
from layerlink.lab.run.watch import Watch
from layerlink.taps import OUTPUT, Tap
from layerlink.teachers import FrozenTeacher
from layerlink.teachers.store import Encoded, StoreDtype, StoreWriter, TensorStore, bytes_of_store
from layerlink.teachers.topk import TopK

SHARE_OF_DISK = 0.9  # of what is free
CHECKED_IMAGES = 8  # are computed again when a store is opened
# What batches of other sizes change in a tensor, relative RMS: rounding, TF32 on a GPU. Wrong rows differ by about 1.
ARITHMETIC_ERROR = {"float32": 5e-3, "bfloat16": 3e-2, "float16": 1e-2}
MAGNIFIED = 4  # by the softmax


@dataclass(frozen=True)
class Stores:
    """The stores of one teacher on one set of images: a folder for every tensor and view.

    Args:
        setup: images, arithmetic, device.
        live: computes what is stored.
        taps: everything that may be stored.
        section: the recipe's.
        keys: of the tensors.
    """

    setup: Setup
    live: FrozenTeacher
    taps: tuple[Tap, ...]
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

    def dtype(self, tap: Tap) -> StoreDtype:
        """How a tensor is kept: the logits are small, and softmax magnifies their errors."""
        if TopK.of(tap) is not None:
            return "int32"
        return "float32" if tap == OUTPUT else self.section.dtype

    def key(self, tap: Tap, epoch: int | None = None) -> dict[str, object]:
        """A tensor's key."""
        return self.keys.key(tap, self.dtype(tap), epoch)

    def folder(self, tap: Tap, epoch: int | None = None) -> Path:
        """A tensor's folder; of every user another."""
        return self.root / f"{folder_name(self.key(tap, epoch))}-{_tag()}"

    def sizes(self) -> dict[Tap, int]:
        """Bytes of every tensor for all training images, in the order of storing: logits, then the deepest layer."""
        images = self.setup.images
        # Texts are padded to the longest of their batch, and so are layers: a store has rows of one size.
        fixed = self.taps
        if isinstance(images.views, SequenceViews):
            fixed = self.taps if images.views.packing else ()
        elif not isinstance(images.train, ImageSet):
            fixed = tuple(tap for tap in self.taps if tap == OUTPUT or TopK.of(tap) is not None)
        sample = self.computed(images.sample, fixed) if fixed else {}
        rows, chunks = len(images.train), len(self.setup.batches)
        # Taps stand in the order in which they ran. Whatever is shallower than a computed one costs nothing more.
        order = [tap for tap in (OUTPUT,) if tap in sample]
        order += [tap for tap in reversed(sample) if tap != OUTPUT]
        return {tap: bytes_of_store(rows, tuple(sample[tap].shape[1:]), self.dtype(tap), chunks) for tap in order}

    def fitting(self, sizes: Mapping[Tap, int]) -> tuple[list[Tap], str]:
        """The first tensors that budget and disk have room for, and why the others are left out."""
        fitting: list[Tap] = []
        total = added = 0
        for tap, size in sizes.items():
            total += size
            added += 0 if self.folder(tap).exists() else size
            if total > 1e9 * self.section.budget_gb:
                return fitting, f"over the budget of {self.section.budget_gb:g} GB"
            if added > SHARE_OF_DISK * free_bytes(self.root):
                return fitting, f"the disk has {free_bytes(self.root) / 1e9:.1f} GB free"
            fitting.append(tap)
        return fitting, ""

    def fill(self, taps: Sequence[Tap], watch: Watch) -> None:
        """Send every training image through the teacher, once, and keep ``taps``; those that are there stay."""
        missing = [tap for tap in taps if not self.folder(tap).exists()]
        if not missing:
            return
        batches, total, done = self.setup.batches, len(self.setup.images.train), 0
        with ExitStack() as stack:
            writers = {tap: stack.enter_context(self.writer(tap)) for tap in missing}

            def write(encoded: dict[Tap, Encoded]) -> None:
                for tap, writer in writers.items():
                    with _told(tap):
                        writer.write(encoded[tap])

            fetching = Fetching(self.setup.device, write)  # one batch is written while the next is computed
            for batch in batches.in_order():
                given, encoded = self.computed(batch.images, missing), {}
                for tap, writer in writers.items():
                    with _told(tap):
                        encoded[tap] = writer.encoded(given[tap])
                fetching.add(encoded)
                done += len(batch.labels)
                watch.progress(f"storing what the teacher gives for {self.setup.images.train.noun}", done, total)
                stop_before_the_next()  # of a sweep; elsewhere Ctrl-C stops it as it stands
            fetching.finish()

    def computed(self, inputs: Inputs, taps: Sequence[Tap]) -> dict[Tap, Tensor]:
        """What the teacher gives for ``taps``, logits first.

        Raises:
            LayerlinkError: where a tap could not be read.
        """
        given = self.live(inputs, taps)
        for problem in given.problems.values():
            raise LayerlinkError(f"teacher.store: {problem}")
        logits = {} if given.logits is None else {OUTPUT: given.logits}
        return {**logits, **given.taps}

    def writer(self, tap: Tap, epoch: int | None = None) -> StoreWriter:
        """Writes a tensor's store."""
        folder, key = self.folder(tap, epoch), self.key(tap, epoch)
        return StoreWriter(folder, key, rows=len(self.setup.images.train), dtype=self.dtype(tap))

    def open(self, taps: Sequence[Tap], epoch: int | None = None) -> dict[Tap, TensorStore]:
        """The stores of ``taps``, each compared with what the teacher gives now for a few images.

        Raises:
            LayerlinkError: where one is damaged, of something else, or does not hold what the teacher gives.
        """
        stores = {tap: TensorStore(self.folder(tap, epoch), self.key(tap, epoch), own=True) for tap in taps}
        train = self.setup.images.train
        count = min(CHECKED_IMAGES, len(train))
        indices = torch.linspace(0, len(train) - 1, count, dtype=torch.float64).round().long().to(train.labels.device)
        given = self.computed(self.setup.images.views(train.rows(indices), indices, epoch), taps)
        for tap, store in stores.items():
            allowed = 4 * store.error + ARITHMETIC_ERROR[self.setup.precision]
            read, now, packed = store.read(indices), given[tap], TopK.of(tap)
            if packed is not None:  # classes may change places where they are as likely
                read, now = (packed.unpack(it)[0].exp() for it in (read, now))
                allowed *= MAGNIFIED
            off = relative_error(read, now)
            if not off <= allowed:
                raise LayerlinkError(
                    f"teacher.store: {store.folder} does not hold what the teacher gives: {name_of(tap)} of {count} "
                    f"{train.noun}, computed again, is {100 * off:.3g} % off; expected at most {100 * allowed:.3g} %. "
                    "Delete the folder: it is filled again"
                )
        return stores


def _tag() -> str:
    found = tag()
    if found is None:
        raise UsageError(f"teacher.store: stores are known as yours by your key: {why_no_key()}")
    return found


@contextmanager
def _told(tap: Tap) -> Iterator[None]:
    try:
        yield
    except LayerlinkError as error:
        raise LayerlinkError(f"teacher.store: {name_of(tap)} cannot be stored. {error}") from error


def relative_error(values: Tensor, reference: Tensor) -> float:
    """Root mean square of the difference over that of the reference; 0 where there is no difference."""
    off = float((values.float() - reference.float()).norm())
    return off / max(float(reference.float().norm()), 1e-30) if off else 0.0


def free_bytes(folder: Path) -> int:
    """What the disk of ``folder``, which need not exist yet, has room for."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
