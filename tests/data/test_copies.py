"""Copies beside a device's work: in which order a device is asked for what, told by one that only writes it down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from layerlink.data import copies
from layerlink.data.copies import Fetching, ahead, to_device

CPU = torch.device("cpu")


class Written:
    """A queue that writes down what is asked of it."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.marks = log, 0

    def entered(self) -> AbstractContextManager[Any]:
        @contextmanager
        def inside() -> Iterator[None]:
            self.log.append("copy")
            yield

        return inside()

    def after_main(self) -> None:
        self.log.append("after main")

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def main_waits(self, mark: int, tensors: Iterable[Tensor]) -> None:
        self.log.append(f"main waits {mark} for {len(list(tensors))}")

    def host_waits(self, mark: int) -> None:
        self.log.append(f"host waits {mark}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(copies, "queue_of", lambda _device: Written(told))
    return told


def test_the_next_item_is_under_way_when_one_is_worked_on(log: list[str]) -> None:
    for number, item in enumerate(ahead(({"x": torch.full((2,), n), "y": torch.zeros(1)} for n in range(3)), CPU)):
        log.append(f"work {int(item['x'][0])}")
        assert int(item["x"][0]) == number
    assert log == [
        *("copy", "copy", "main waits 1 for 2", "work 0"),
        *("copy", "main waits 2 for 2", "work 1"),
        *("main waits 3 for 2", "work 2"),
    ]


def test_what_is_computed_is_handed_on_when_the_next_is_asked_for(log: list[str]) -> None:
    taken: list[int] = []

    def take(item: Tensor) -> None:
        log.append(f"take {int(item)}")
        taken.append(int(item))

    fetching = Fetching(CPU, take)
    for number in range(3):
        log.append(f"compute {number}")
        fetching.add(torch.tensor(number))
    fetching.finish()
    assert taken == [0, 1, 2]
    assert log == [
        *("compute 0", "after main", "copy"),
        *("compute 1", "after main", "copy", "host waits 1", "take 0"),
        *("compute 2", "after main", "copy", "host waits 2", "take 1"),
        *("host waits 3", "take 2"),
    ]


def test_nothing_is_asked_for_before_it_is_needed_and_errors_come_up_where_they_are() -> None:
    made: list[int] = []

    def items() -> Iterator[Tensor]:
        for number in range(5):
            if number == 3:
                raise ValueError("the fourth")
            made.append(number)
            yield torch.tensor(number)

    found = ahead(items(), CPU)
    assert made == []
    next(found)
    assert made == [0, 1]
    next(found)
    with pytest.raises(ValueError, match="the fourth"):
        next(found)


def test_on_the_cpu_the_tensors_are_the_ones_that_were_given() -> None:
    given = [torch.arange(3), torch.arange(4)]
    assert all(a is b for a, b in zip(ahead(given, CPU), given, strict=True))
    assert to_device(given[0], CPU) is given[0]
    assert list(ahead([], CPU)) == []
