"""The teacher of a training, epoch by epoch: read where the recipe stores it, computed where not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from layerlink.errors import LayerlinkError
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.teaching.keys import StoreKeys, name_of
from layerlink.lab.run.teaching.stores import SHARE_OF_DISK, Stores, free_bytes
from layerlink.lab.run.watch import Watch
from layerlink.taps import OUTPUT, Tap
from layerlink.teachers import EMATeacher, FrozenTeacher, KeepingTeacher, StoredTeacher, Teacher
from layerlink.teachers.store import TensorStore, bytes_of_store
from layerlink.teachers.topk import TopK


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
        # The average of a student is no other's teacher: its distiller asks it.
        taught_by = setups[0].taught_by if setups else None
        self._live = None if isinstance(taught_by, EMATeacher) else taught_by
        self._stored: dict[Tap, TensorStore] = {}
        self._epochs = 0  # so many epochs' logits are stored, where views differ
        self._stores = _stores_of(setups)
        if self._stores is None:
            return
        if self._stores.keys.view:
            self._plan_epochs(self._stores, max(setup.recipe.training.epochs for setup in setups))
        else:
            self._fill(self._stores)

    def at(self, epoch: int, setups: Sequence[Setup]) -> Teacher | None:
        """The teacher of an epoch; None where none of the setups asks for anything.

        Args:
            epoch: from 0.
            setups: those that learn in it.
        """
        wanted = {tap for setup in setups for tap in setup.distiller.wanted}
        if self._live is None or not wanted:
            return None
        stores, stored = self._stores, dict(self._stored)
        if stores is not None and OUTPUT in wanted and epoch < self._epochs:
            if here().first_says(lambda: stores.folder(OUTPUT, epoch).exists()):
                stored = stores.open([OUTPUT], epoch)
            elif here().size == 1:
                return KeepingTeacher(self._live, len(stores.setup.images.train), partial(self._keep, stores, epoch))
        return StoredTeacher(self._live, stored) if stored else self._live

    def _keep(self, stores: Stores, epoch: int, logits: Tensor) -> None:
        """Write the logits of an epoch's views; the training goes on where that fails."""
        size, free = bytes_of_store(len(logits), tuple(logits.shape[1:]), "float32"), free_bytes(stores.root)
        try:
            if size > SHARE_OF_DISK * free:
                raise LayerlinkError(f"they take {_size(size)} and the disk has {_size(free)} free")
            with stores.writer(OUTPUT, epoch) as writer:
                writer.add(logits)
        except LayerlinkError as error:
            self._watch.warn(f"the teacher's logits of epoch {epoch + 1} were not stored: {error}")

    def _fill(self, stores: Stores) -> None:
        sizes = stores.sizes()
        kept, why_not = here().first_says(lambda: self._kept(stores, sizes))
        self._stored = stores.open(kept)
        varying = [tap for tap in stores.taps if tap not in sizes]
        left = ", ".join(name_of(tap) for tap in (*sizes, *varying) if tap not in kept)
        why_not = why_not or f"layers of {stores.setup.images.train.noun} are of many lengths"
        told, train = "nothing", stores.setup.images.train
        if kept:
            parts = [f"{name_of(tap)} {_how(tap, store)}" for tap, store in self._stored.items()]
            total = sum(store.nbytes for store in self._stored.values())
            told = f"{len(train):,} {train.noun}, {', '.join(parts)}, {_size(total)} in {stores.root}"
        self._watch.tell(f"teacher stored: {told}{f'; {left} computed live: {why_not}' if left else ''}")

    def _kept(self, stores: Stores, sizes: dict[Tap, int]) -> tuple[list[Tap], str]:
        kept, why_not = stores.fitting(sizes)
        stores.fill(kept, self._watch)
        return kept, why_not

    def _plan_epochs(self, stores: Stores, epochs: int) -> None:
        sizes = stores.sizes()
        layers = ", ".join(name_of(tap) for tap in sizes if tap != OUTPUT)
        if OUTPUT in sizes:
            self._epochs = min(epochs, int(1e9 * stores.section.budget_gb / sizes[OUTPUT]))
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
            f"teacher stored: logits float32 of every view of {self._epochs} epochs{part}, {_size(sizes[OUTPUT])} "
            f"each, in {stores.root}{live}"
        )


def _stores_of(setups: Sequence[Setup]) -> Stores | None:
    """The stores for everything that the setups may ever ask of their teacher; None where nothing is to be stored."""
    taps = tuple(dict.fromkeys(tap for setup in setups for tap in setup.distiller.whole_objective.of_teacher))
    section = setups[0].recipe.teacher.store if setups and setups[0].recipe.teacher else None
    live = setups[0].taught_by if setups else None
    if section is None or not isinstance(live, FrozenTeacher) or not taps:
        return None
    return Stores(setups[0], live, taps, section, StoreKeys.of(setups[0], live.observed))


def _how(tap: Tap, store: TensorStore) -> str:
    packed = TopK.of(tap)
    if packed is not None:
        return f"alone ({packed.nbytes:,} bytes a row, float16 logarithms)"
    return f"{store.dtype} (error {100 * store.error:.2g} %)" if store.dtype != "float32" else store.dtype


def _size(count: float) -> str:
    unit, name = (1e9, "GB") if count >= 1e8 else (1e6, "MB") if count >= 1e5 else (1e3, "kB")
    return f"{count / unit:.1f} {name}"
