"""The teacher of a training, batch by batch: read where the recipe stores it, computed where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.errors import LayerlinkError
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.setup.cohort import common_teacher
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.teaching.keys import Item, StoreKeys, name_of
from layerlink.lab.run.teaching.stores import SHARE_OF_DISK, Stores, free_bytes
from layerlink.lab.run.watch import Watch
from layerlink.teachers.store.store import bytes_of_store
from layerlink.transfer import Activations, LiveTeacher, Tap, TensorStore


class BatchTeacher(Protocol):
    """What the training loop asks of a teacher: live and stored ones look alike."""

    def __call__(self, batch: Batch) -> Activations:
        """What the teacher gives for the batch."""
        ...


class CohortTeacher:
    """Gives what the setups of a cohort ask of their one teacher, as ``teacher.store`` of their recipe says.

    Without augmentation every image looks the same in all epochs: logits and taps are stored, by one pass over the
    training images where they are not there yet. With augmentation the logits of every epoch's views are stored,
    as the epoch is trained; taps are computed.

    Args:
        setups: all that will ever ask.
        watch: is told what is stored.

    Raises:
        LayerlinkError: where a store does not hold what the teacher gives, or cannot be written.
    """

    def __init__(self, setups: Sequence[Setup], watch: Watch) -> None:
        self._watch = watch
        self._stored: dict[Item, TensorStore] = {}
        self._epochs = 0  # so many epochs' logits are stored, where views differ
        self._stores = _stores_of(setups)
        if self._stores is None:
            return
        if self._stores.keys.view:
            self._plan_epochs(self._stores, max(setup.recipe.training.epochs for setup in setups))
        else:
            self._fill(self._stores)

    def at(self, epoch: int, setups: Sequence[Setup]) -> BatchTeacher | None:
        """The teacher of an epoch; None where none of the setups asks for anything.

        Args:
            epoch: from 0.
            setups: those that learn in it.
        """
        asked = common_teacher(setups)
        if not isinstance(asked, LiveTeacher):
            return None
        stored = dict(self._stored)
        if self._stores is not None and asked.logits and epoch < self._epochs:
            stores = self._stores
            if here().first_says(lambda: stores.folder(None, epoch).exists()):
                stored = stores.open([None], epoch)
            elif here().size == 1:
                return KeepingTeacher(asked, stores, epoch, self._watch)
        return StoredTeacher(asked, stored)

    def _fill(self, stores: Stores) -> None:
        sizes = stores.sizes()
        kept, why_not = here().first_says(lambda: self._kept(stores, sizes))
        self._stored = stores.open(kept)
        left = ", ".join(name_of(item) for item in sizes if item not in kept)
        told = "nothing"
        if kept:
            parts = [f"{name_of(item)} {_how(store)}" for item, store in self._stored.items()]
            total = sum(store.nbytes for store in self._stored.values())
            told = f"{len(stores.setup.images.train):,} images, {', '.join(parts)}, {_size(total)} in {stores.root}"
        self._watch.tell(f"teacher stored: {told}{f'; {left} computed live: {why_not}' if left else ''}")

    def _kept(self, stores: Stores, sizes: dict[Item, int]) -> tuple[list[Item], str]:
        kept, why_not = stores.fitting(sizes)
        stores.fill(kept, self._watch)
        return kept, why_not

    def _plan_epochs(self, stores: Stores, epochs: int) -> None:
        sizes = stores.sizes()
        layers = ", ".join(name_of(item) for item in sizes if item is not None)
        if None in sizes:
            self._epochs = min(epochs, int(1e9 * stores.section.budget_gb / sizes[None]))
        live = f"; {layers} computed live: augmented views change with every epoch" if layers else ""
        if not self._epochs:
            self._watch.tell(f"teacher stored: nothing{live}")
            return
        if here().size > 1:
            self._watch.tell(
                f"teacher stored: what is there already is read; {here().size} processes see a part of the views each "
                f"and store nothing{live}"
            )
            return
        part = "" if self._epochs == epochs else f", the others are over the budget of {stores.section.budget_gb:g} GB"
        self._watch.tell(
            f"teacher stored: logits float32 of every view of {self._epochs} epochs{part}, {_size(sizes[None])} each, "
            f"in {stores.root}{live}"
        )


class StoredTeacher:
    """Reads what is stored and computes the rest, running the model no further than that needs.

    Args:
        asked: what is wanted.
        stored: what is there; more than is wanted does no harm.
    """

    def __init__(self, asked: LiveTeacher, stored: Mapping[Item, TensorStore]) -> None:
        wanted: list[Item] = [*([None] if asked.logits else []), *asked.recorder.taps]
        self._stored = {item: stored[item] for item in wanted if item in stored}
        taps = [tap for tap in asked.recorder.taps if tap not in stored]
        logits = asked.logits and None not in stored
        live = asked
        if self._stored:
            live = LiveTeacher(asked.model, taps, logits=logits, element=asked.element)
        self._live = live if taps or logits else None

    def __call__(self, batch: Batch) -> Activations:
        """What the teacher gives for the batch."""
        given = Activations(None) if self._live is None else self._live(batch.images)
        read = {item: store.read(batch.indices) for item, store in self._stored.items()}
        taps: dict[Tap, Tensor] = {item: values for item, values in read.items() if item is not None}
        return Activations(read.get(None, given.logits), {**given.taps, **taps}, given.problems)


@dataclass
class KeepingTeacher:
    """Computes an epoch's batches and stores their logits when every image was seen.

    An epoch that is resumed in its middle is not stored: some images were seen before.

    Args:
        live: the teacher.
        stores: where to.
        epoch: from 0.
        watch: is told where the logits could not be stored; the training goes on.
    """

    live: LiveTeacher
    stores: Stores
    epoch: int
    watch: Watch

    def __post_init__(self) -> None:
        self._seen = torch.zeros(len(self.stores.setup.images.train), dtype=torch.bool)
        self._logits: Tensor | None = None

    def __call__(self, batch: Batch) -> Activations:
        """What the teacher gives for the batch."""
        given = self.live(batch.images)
        if given.logits is not None:
            if self._logits is None:
                self._logits = torch.zeros(len(self._seen), *given.logits.shape[1:])
            rows = batch.indices.cpu()
            self._logits[rows] = given.logits.float().cpu()
            self._seen[rows] = True
            if bool(self._seen.all()):
                self._write(self._logits)
        return given

    def _write(self, logits: Tensor) -> None:
        self._seen[:] = False
        size, free = bytes_of_store(len(logits), tuple(logits.shape[1:]), "float32"), free_bytes(self.stores.root)
        try:
            if size > SHARE_OF_DISK * free:
                raise LayerlinkError(f"they take {_size(size)} and the disk has {_size(free)} free")
            with self.stores.writer(None, self.epoch) as writer:
                writer.add(logits)
        except LayerlinkError as error:
            self.watch.warn(f"the teacher's logits of epoch {self.epoch + 1} were not stored: {error}")


def _stores_of(setups: Sequence[Setup]) -> Stores | None:
    """The stores for everything that the setups may ever ask of their teacher; None where nothing is to be stored."""
    teachers = [t for t in (setup.distiller.teacher for setup in setups) if isinstance(t, LiveTeacher)]
    taps = [tap for teacher in teachers for tap in teacher.recorder.taps]
    logits = any(teacher.logits for teacher in teachers)
    section = setups[0].recipe.teacher.store if setups and setups[0].recipe.teacher else None
    if section is None or not (taps or logits):
        return None
    live = LiveTeacher(teachers[0].model, taps, logits=logits, element=teachers[0].element)
    return Stores(setups[0], live, section, StoreKeys.of(setups[0], live.model, live.element))


def _how(store: TensorStore) -> str:
    return f"{store.dtype} (error {100 * store.error:.2g} %)" if store.dtype != "float32" else store.dtype


def _size(count: float) -> str:
    unit, name = (1e9, "GB") if count >= 1e8 else (1e6, "MB") if count >= 1e5 else (1e3, "kB")
    return f"{count / unit:.1f} {name}"
