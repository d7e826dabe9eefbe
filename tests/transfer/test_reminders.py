"""What a loop of one's own may forget is told once, at the line that forgot it."""

from __future__ import annotations

import socket
import warnings

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

import layerlink as ll
from layerlink.errors import UsageError
from layerlink.teachers import EMATeacher


def pair() -> tuple[nn.Sequential, nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    teacher, student = (nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3)) for width in (8, 6))
    return teacher, student, torch.randn(5, 4), torch.arange(5) % 3


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"links": ["@output : kd, until=2"]}, "link '@output : kd, until=2'"),
        ({"links": ["1 -> 1 : rkd * 0.1, from=1", "@output : kd"]}, "link '1 -> 1 : rkd * 0.1, from=1'"),
        ({"soft": ll.Soft(warmup=3), "hard": ll.Hard(decay="linear")}, "hard, soft"),
        ({"links": ["1 : rkd"], "link_until": 4}, "link '1 : rkd'"),
    ],
)
def test_terms_that_have_a_time_which_nobody_tells(how: dict[str, object], named: str) -> None:
    teacher, student, x, y = pair()
    distiller = ll.Distiller(teacher, student, **how)  # type: ignore[arg-type]
    with torch.no_grad():
        distiller(x, y)
    with pytest.warns(UserWarning, match="nobody says the time") as caught:
        distiller(x, y)
    assert [(str(it.message).partition(": begins")[0], it.filename) for it in caught] == [(named, __file__)]
    distiller(x, y)  # warnings are errors here: told once
    told = ll.Distiller(teacher, student, **how)  # type: ignore[arg-type]
    told.at(0, 5)
    told(x, y)


def test_a_time_is_not_asked_for_where_every_term_always_counts() -> None:
    teacher, student, x, y = pair()
    ll.Distiller(teacher, student, soft=ll.Soft(), links=["1 : rkd, scale=gradient"])(x, y)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_average_that_is_told_of_no_step(accumulate: int) -> None:
    _, student, x, y = pair()
    for forgets in (False, True):
        distiller = ll.Distiller(EMATeacher(student, 0.9), student, soft=ll.Soft())
        optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=0.1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(4 * accumulate):
                distiller(x, y).total.backward()
                if step % accumulate == accumulate - 1:
                    optimizer.step()
                    if not forgets:
                        distiller.after_step()
        told = ["Call distiller.after_step() after every step" in str(it.message) for it in caught]
        assert told == [True] * forgets


def test_a_student_that_is_replaced_is_not_left_out_in_silence() -> None:
    teacher, student, x, y = pair()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft())
    distiller.student = nn.Sequential(student)
    with pytest.raises(UsageError, match=r"distiller.student was replaced by a Sequential"):
        distiller(x, y)


def test_an_average_of_another_model_is_refused() -> None:
    _, student, _, _ = pair()
    with pytest.raises(UsageError, match="an EMATeacher was made of another model than the student"):
        ll.Distiller(EMATeacher(nn.Linear(4, 3)), student, soft=ll.Soft())


def test_a_student_that_averages_its_gradients_alone_is_refused_beside_an_adapter() -> None:
    teacher, student, x, _ = pair()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(student)
        with pytest.raises(UsageError, match=r"links' own 2 parameters. Wrap the distiller in place of it"):
            ll.Distiller(teacher, wrapped, links=["0 -> module.0 : mse, adapter=linear"], example=x[:2])
        ll.Distiller(teacher, wrapped, links=["1 -> module.1 : rkd"])
    finally:
        distributed.destroy_process_group()
