"""Several batches an update: what the loss of one of them is in the loss of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.lab.parallel.processes import Processes
from layerlink.transfer import Distiller, Losses
from layerlink.transfer.shares import counts_of

Shares = Mapping[str, float | Tensor]


class UpdateShares:
    """What every batch of an update counts in it, counted once an update. Nothing here waits for the device.

    Every term counts by what it is a mean over: examples, labels that are known, positions that a mask keeps.

    Args:
        distiller: whose terms these are.
        processes: those that have a part of every batch each.
    """

    def __init__(self, distiller: Distiller, processes: Processes) -> None:
        self.distiller = distiller
        self.processes = processes
        self._together: tuple[Batch, ...] = ()
        self._shares: list[Shares] = []

    def of(self, batch: Batch) -> Shares:
        """Of each term the batch's share of its update, in all processes; nothing where it makes one by itself.

        Args:
            batch: this process's part of it.
        """
        if len(batch.together) < 2:
            return {}
        if batch.together is not self._together:
            self._together, self._shares = batch.together, self._counted(batch.together)
        shares = self._shares[batch.step - batch.together[0].step]
        if batch.ends_update:
            self._together, self._shares = (), []
        return shares

    def _counted(self, together: Sequence[Batch]) -> list[Shares]:
        counts = [counts_of(self.distiller, it.images, it.labels) for it in together]
        whole = sum(it.count for it in together)
        examples = [it.count / whole for it in together]
        if self.processes.size == 1:
            of_terms = {name: [count[name] for count in counts] for name in counts[0]}
            return [
                {name: _share(of_term, place, examples[place]) for name, of_term in of_terms.items()}
                for place in range(len(together))
            ]
        device, here = together[0].labels.device, [float(not it.stand_in) for it in together]
        own = torch.stack(
            [
                torch.stack([torch.as_tensor(it, dtype=torch.float64, device=device) for it in of_one.values()])
                * counts_here
                for of_one, counts_here in zip(counts, here, strict=True)
            ]
        )
        every = self.processes.sum(own)
        total = every.sum(0)
        shares = torch.where(total > 0, every / total.clamp_min(1), torch.tensor(examples).double().to(device)[:, None])
        return [dict(zip(counts[0], row.unbind(), strict=True)) for row in shares]


def part_of_update(distiller: Distiller, losses: Losses, shares: Shares) -> Tensor:
    """A batch's part of its update's loss: over all batches of the update these sum up to the loss of all at once.

    Args:
        distiller: whose terms these are, at this time.
        losses: of the batch; those of a process's part say what they count in it.
        shares: of the batch in its update; nothing where it makes one by itself.
    """
    if not shares:
        return losses.total
    both = {name: losses.shares.get(name, 1.0) * shares[name] for name in losses.terms}
    return distiller.objective.weigh(replace(losses, shares=both), distiller.factors).total


def _share(counts: Sequence[float | Tensor], place: int, examples: float) -> float | Tensor:
    """Of what counts in all; where nothing does, that of the examples."""
    own, whole = counts[place], sum(counts[1:], start=counts[0])
    if isinstance(own, Tensor) and isinstance(whole, Tensor):
        return torch.where(whole > 0, own.double() / whole.clamp_min(1), examples)
    return float(own) / float(whole) if whole else examples
