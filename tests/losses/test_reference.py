"""What widely used implementations give, to 1e-6 and better: values, norm and first entries of the gradient."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from layerlink.losses import CC, ab, at, dkd, ft, hcl, kd, mse, nst, pkt, rkd, sp

Loss = Callable[..., Tensor]


def cc(student: Tensor, teacher: Tensor) -> Tensor:
    """After both embeddings: these are identities here."""
    loss = CC(student.shape, teacher.shape, dim=student.shape[1]).double()
    with torch.no_grad():
        for embed in (loss.embed_student, loss.embed_teacher):
            embed.weight.copy_(torch.eye(student.shape[1]))
            embed.bias.zero_()
    found: Tensor = loss(student, teacher)
    return found


# name, seed, scale, whether both are clamped at 0, shapes, what the loss is called with, value, norm of the gradient
VALUES: list[tuple[str, int, float, bool, tuple[int, ...], tuple[int, ...], Loss, float, float]] = [
    ("kd", 1000, 3.0, False, (8, 10), (8, 10), partial(kd, temperature=1.0), 3.8685220590071783, 0.3400610414932192),
    ("kd", 1001, 3.0, False, (32, 100), (32, 100), kd, 8.78391848703912, 0.08479757636171326),
    ("dkd", 1050, 3.0, False, (8, 10), (8, 10), dkd, 64.63409644830095, 3.8134690848842743),
    ("dkd", 1051, 3.0, False, (32, 100), (32, 100), dkd, 74.02407063302104, 0.7109405087691102),
    ("mse", 1141, 1.0, True, (4, 32, 4, 4), (4, 32, 4, 4), mse, 0.6552091184639661, 0.035772968977985785),
    ("at", 1100, 1.0, True, (8, 16, 8, 8), (8, 16, 8, 8), at, 0.007051318724837999, 0.0005181738234243193),
    ("at", 1102, 1.0, True, (4, 8, 8, 8), (4, 8, 4, 4), at, 0.02651894171943523, 0.006336591336557809),
    ("ft", 1120, 1.0, True, (8, 16, 8, 8), (8, 16, 8, 8), ft, 0.06617453042651607, 0.0030432038574536462),
    ("ft", 1122, 1.0, True, (4, 8, 8, 8), (4, 8, 4, 4), ft, 0.1301992172231753, 0.018615856233346512),
    ("nst", 1110, 1.0, True, (8, 16, 8, 8), (8, 16, 8, 8), nst, 0.10966533884384744, 0.006085131347474316),
    ("nst", 1112, 1.0, True, (4, 8, 8, 8), (4, 8, 4, 4), nst, 0.2994122346735081, 0.04041612657400035),
    ("ab", 1150, 1.0, False, (8, 16, 8, 8), (8, 16, 8, 8), ab, 6.028708890372705, 0.09509502266448577),
    ("ab", 1151, 1.0, False, (4, 32, 4, 4), (4, 32, 4, 4), ab, 3.0449929964347335, 0.09557708401758344),
    ("hcl", 1170, 1.0, True, (8, 16, 8, 8), (8, 16, 8, 8), hcl, 0.40687078673881555, 0.011320590560754408),
    ("hcl", 1171, 1.0, True, (4, 32, 4, 4), (4, 32, 4, 4), hcl, 0.46301974644575683, 0.024768445846376153),
    ("sp", 1131, 1.0, True, (4, 32, 4, 4), (4, 32, 4, 4), sp, 0.0009920205866670246, 0.001453746065382858),
    ("sp", 1132, 1.0, True, (4, 8, 8, 8), (4, 8, 4, 4), sp, 0.001195110193629629, 0.0013803012470521652),
    ("rkd", 1200, 1.0, False, (8, 32), (8, 32), rkd, 0.7265133230852584, 0.3088018282787984),
    ("rkd", 1201, 1.0, False, (16, 64), (16, 64), rkd, 0.4719352516892207, 0.12390007677421795),
    ("pkt", 1210, 1.0, False, (8, 32), (8, 32), pkt, 0.004349250740384939, 0.0013035488289037485),
    ("pkt", 1211, 1.0, False, (16, 64), (16, 64), pkt, 0.0007503221921720743, 0.00015151381723620534),
    ("cc", 1220, 1.0, False, (8, 32), (8, 32), cc, 39.6687610467414, 5.108640239146856),
    ("cc", 1221, 1.0, False, (16, 64), (16, 64), cc, 79.47264910872909, 5.1286978621547945),
]


def drawn(
    seed: int, scale: float, relu: bool, student: tuple[int, ...], teacher: tuple[int, ...], labelled: bool
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = np.random.default_rng(seed)
    sides = [generator.standard_normal(shape) * scale for shape in (student, teacher)]
    own, other = (torch.from_numpy(np.maximum(side, 0) if relu else side) for side in sides)
    labels = {"labels": torch.from_numpy(generator.integers(0, student[1], student[0]))} if labelled else {}
    return own.requires_grad_(), other, labels


@pytest.mark.parametrize("case", VALUES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_loss_gives_the_published_value_and_gradient(case: Any) -> None:
    name, seed, scale, relu, student, teacher, loss, value, norm = case
    own, other, labels = drawn(seed, scale, relu, student, teacher, name == "dkd")
    found = loss(own, other, **labels)
    (gradient,) = torch.autograd.grad(found, own)
    # The published code leaves the label out of dkd by subtracting 1000, clamps 1e-12 in rkd, adds 1e-7 elsewhere.
    assert float(found.detach()) == pytest.approx(value, rel=1e-6)
    assert float(gradient.norm()) == pytest.approx(norm, rel=1e-6)


LOSSES = {
    "kd": kd,
    "dkd": dkd,
    "mse": mse,
    "at": at,
    "hcl": hcl,
    "sp": sp,
    "rkd": rkd,
    "pkt": pkt,
    "cc": cc,
    "ft": ft,
    "nst": nst,
    "ab": ab,
}
OPTIONS = {"power": "p", "distance_weight": "distance", "angle_weight": "angle"}
WORDS = ("factor", "levels", "note")  # of parameters that say what is computed and are no options


def test_all_values_that_are_known_agree(shared: Path) -> None:
    cases = list(json.loads((shared / "reference" / "loss_values.json").read_text()))
    cases = [case for case in cases if case["name"] in LOSSES]
    assert len(cases) == 32
    for case in cases:
        shapes = tuple(case["shape_s"]), tuple(case["shape_t"])
        own, other, labels = drawn(case["seed"], case["scale"], case["relu"], *shapes, case["name"] == "dkd")
        options = {OPTIONS.get(name, name): float(value) for name, value in case["params"].items() if name not in WORDS}
        found = LOSSES[case["name"]](own, other, **labels, **options)  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(found, own)
        assert float(found.detach()) == pytest.approx(case["value"], rel=1e-6), case["name"]
        assert float(gradient.norm()) == pytest.approx(case["grad_norm"], rel=1e-6), case["name"]
        assert gradient.flatten()[:5].tolist() == pytest.approx(case["grad_head"], rel=1e-5, abs=1e-9), case["name"]
