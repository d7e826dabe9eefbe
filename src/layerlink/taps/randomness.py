"""Random numbers of all kinds that a model may draw: torch's, Python's, numpy's."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_LARGEST = 1 << 32  # numpy's seeds are below


@dataclass(frozen=True)
class RandomState:
    """Where all generators stand.

    Args:
        torch: the CPU's state, then every GPU's where one is in use.
        python: as ``random.getstate`` gives it.
        numpy: as ``numpy.random.get_state`` gives it; None where nobody has loaded numpy.
    """

    torch: list[Tensor]
    python: Any
    numpy: Any

    @classmethod
    def now(cls) -> RandomState:
        """As they stand."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        numpy = sys.modules.get("numpy")
        return cls([torch.get_rng_state(), *gpus], random.getstate(), numpy and numpy.random.get_state())

    @classmethod
    def of(cls, seed: int) -> RandomState:
        """As they stand after being seeded."""
        with kept():
            _seed(seed)
            return cls.now()

    def set(self) -> None:
        """Let all generators stand so."""
        torch.set_rng_state(self.torch[0])
        if len(self.torch) > 1 and torch.cuda.is_available() and len(self.torch) == 1 + torch.cuda.device_count():
            torch.cuda.set_rng_state_all(self.torch[1:])
        random.setstate(self.python)
        numpy = sys.modules.get("numpy")
        if numpy is not None and self.numpy is not None:
            numpy.random.set_state(self.numpy)

    def plain(self) -> dict[str, Any]:
        """As tensors and numbers, for a checkpoint."""
        version, words, gauss = self.python
        found: dict[str, Any] = {"torch": self.torch, "python": (version, torch.tensor(words), gauss)}
        if self.numpy is not None:
            name, keys, *rest = self.numpy
            found["numpy"] = (name, torch.tensor(keys.tolist()), *rest)
        return found

    @classmethod
    def of_plain(cls, state: Any) -> RandomState:
        """What ``plain`` gave; a list of tensors is torch's alone, as checkpoints had it before."""
        if not isinstance(state, Mapping):
            now = cls.now()
            return cls(list(state), now.python, now.numpy)
        version, words, gauss = state["python"]
        numpy = None
        if "numpy" in state:
            import numpy as np  # the state says that it was loaded

            name, keys, *rest = state["numpy"]
            numpy = (name, np.array(keys.tolist(), dtype=np.uint32), *rest)
        return cls(state["torch"], (version, tuple(words.tolist()), gauss), numpy)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % _LARGEST)


@contextmanager
def kept() -> Iterator[None]:
    """Put all generators back afterwards."""
    before = RandomState.now()
    try:
        yield
    finally:
        before.set()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everything that is drawn follow from ``seed``; put all generators back afterwards."""
    with kept():
        _seed(seed)
        yield
