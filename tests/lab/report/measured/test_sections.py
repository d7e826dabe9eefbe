"""What is said and drawn of confusions that were measured."""

from __future__ import annotations

import torch

from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.measured.comparison import Measured, Measurements
from layerlink.lab.report.measured.sections import model_sections
from layerlink.lab.report.page.page import Section
from layerlink.measure.latency import Latency
from layerlink.tasks import ACCURACY


def section(counts: list[list[int]]) -> Section:
    """Of one student with these confusions."""
    speed = (Latency(1.0, 0.9, 1.1, 5, 1), Latency(9.0, 8.0, 10.0, 5, 128))

    def model(name: str, confusion: torch.Tensor | None) -> Measured:
        return Measured(name, "vgg7", 10, 100, 40, speed, 80.0, None, confusion, None)

    names = ("cat", "dog", "bird")[: len(counts)]
    measured = Measurements(
        model("teacher", None), (model("kd", torch.tensor(counts)),), (), names, 100, "a CPU", ACCURACY
    )
    return model_sections(Gathered("t", "", (), None, (), ()), measured, "", None)[0]


def test_two_classes_are_a_sentence() -> None:
    found = section([[82, 18], [26, 174]])
    assert found.pictures == ()
    # 18 of 100, and 26 of 200.
    assert "It takes cat for dog in 18.0 %; dog for cat in 13.0 % of the class." in found.text
    assert "a cell is percent" not in found.text


def test_rare_confusions_are_a_sentence() -> None:
    found = section([[970, 20, 10], [1, 99, 0], [0, 0, 50]])
    assert found.pictures == ()
    assert (
        "It takes cat for dog in 2.0 %; cat for bird in 1.0 %; dog for cat in 1.0 % of the class, and others less "
        "often."
    ) in found.text


def test_no_confusion_at_all_is_not_drawn() -> None:
    found = section([[5, 0, 0], [0, 5, 0], [0, 0, 5]])
    assert (found.pictures, "It takes" in found.text) == ((), False)


def test_many_confusions_are_a_picture() -> None:
    found = section([[80, 10, 10], [5, 90, 5], [0, 0, 100]])
    assert [picture.heading for picture in found.pictures] == ["Confusion of kd"]
    assert "In the confusion a cell is percent of its row." in found.text
    assert "It takes" not in found.text
