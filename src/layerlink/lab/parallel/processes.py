"""The processes that train together: who this one is, and what they tell each other. One process alone does nothing."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError

T = TypeVar("T")

# torchrun sets all of these; a cluster's scheduler may set some of them for purposes of its own.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The others wait while the first process fills a teacher's store or downloads. That one of them died is seen by
# torchrun, and by its closed connections, not by waiting.
LONGEST_WAIT = timedelta(hours=6)


class LostProcessError(LayerlinkError):
    """Another process of the training ended."""


class Processes:
    """One process: every question is answered by itself, and nothing is sent.

    ``Group`` is the same for several. All of them must call the same methods in the same order.
    """

    rank, size = 0, 1  # among all processes
    local_rank, local_size = 0, 1  # among those of this machine

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def steps_between_questions(self) -> int:
        """How many steps to train between asking all whether to stop: what that costs grows with their number."""
        return 1 + self.size // 16

    def part(self, count: int) -> slice:
        """This process's part of ``count`` things: as equal as can be, in the order of the processes."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For every flag, whether it is set in any process."""
        return flags

    def least(self, number: int) -> int:
        """The smallest number of all processes."""
        return number

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients, in ``values`` itself."""
        return values

    def first_says(self, ask: Callable[[], T]) -> T:
        """What the first process finds, told to all. A ``LayerlinkError`` there is raised in all."""
        return ask()

    @contextmanager
    def first_of_machine_before(self) -> Iterator[None]:
        """The first process of every machine does this before the others do: they find what it has fetched."""
        yield

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Say so where another process is lost.

        Raises:
            LostProcessError: in place of the connection's own error.
        """
        yield


class Group(Processes):
    """Several processes over ``torch.distributed``, which is initialised already."""

    def __init__(self) -> None:
        self.rank, self.size, self.local_rank, self.local_size = (int(os.environ[name]) for name in VARIABLES[:4])

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For every flag, whether it is set in any process."""
        return tuple(bool(count) for count in self.sum(torch.tensor(flags, dtype=torch.int32)).tolist())

    def least(self, number: int) -> int:
        """The smallest number of all processes."""
        numbers = torch.zeros(self.size, dtype=torch.int64)
        numbers[self.rank] = number
        return int(self.sum(numbers).min())

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients, in ``values`` itself."""
        from torch import distributed

        with self.talking():
            distributed.all_reduce(values)
        return values

    def first_says(self, ask: Callable[[], T]) -> T:
        """What the first process finds, told to all. A ``LayerlinkError`` there is raised in all."""
        from torch import distributed

        told: list[Any] = [None, None]
        failure: LayerlinkError | None = None
        if self.first:
            try:
                told[0] = ask()
            except LayerlinkError as error:
                failure, told[1] = error, (type(error), str(error))
        with self.talking():
            distributed.broadcast_object_list(told)
        if told[1] is not None:
            raise failure or _elsewhere(*told[1])
        answer: T = told[0]
        return answer

    @contextmanager
    def first_of_machine_before(self) -> Iterator[None]:
        """The first process of every machine does this before the others do: they find what it has fetched."""
        if self.local_rank:
            self.any(False)
        yield
        if not self.local_rank:
            self.any(False)

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Say so where another process is lost."""
        from torch import distributed

        try:
            yield
        except RuntimeError as error:
            text = str(error)
            if not isinstance(error, distributed.DistError) and "gloo" not in text and "NCCL" not in text:
                raise
            reason = re.sub(r"^\[.*?\] ?", "", text.strip().splitlines()[0]).partition(". ")[0]
            raise LostProcessError(
                f"process {self.rank} of {self.size} lost the others: one of them ended, and its own message says why "
                f"({reason}). The last checkpoint is whole: the same command with --resume goes on"
            ) from error


def _elsewhere(kind: type[LayerlinkError], text: str) -> LayerlinkError:
    """The first process's error; ``told`` marks that it is printed there."""
    error = kind.__new__(kind)  # its own arguments stayed there
    Exception.__init__(error, text)
    error.told = True  # type: ignore[attr-defined]
    return error


ALONE = Processes()
_here: Processes = ALONE


def here() -> Processes:
    """The processes that this one trains with; ``ALONE`` outside of ``joined``."""
    return _here


@contextmanager
def joined() -> Iterator[Processes]:
    """Train together with the processes that torchrun started; alone where it started none, or one.

    Raises:
        UsageError: where they cannot be reached.
    """
    global _here
    if any(name not in os.environ for name in VARIABLES) or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    except (RuntimeError, ValueError) as error:
        names = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES)
        raise UsageError(f"cannot reach the other processes ({names}): {error}. Start them by torchrun") from error
    _here = Group()
    try:
        yield _here
    finally:
        _here = ALONE
        gc.collect()  # wrapped models, which hold on to the group
        distributed.destroy_process_group()
