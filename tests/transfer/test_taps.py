from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from layerlink.errors import UsageError
from layerlink.transfer.taps import ElementError, Tap, pick


@pytest.mark.parametrize(
    ("text", "tap"),
    [
        ("group3", Tap("group3")),
        ("layer1.0.conv1", Tap("layer1.0.conv1")),
        ("relu#2", Tap("relu", call=2)),
        ("block@input", Tap("block", side="input")),
        ("block@output", Tap("block")),
        ("encoder.3@input#1[mask][0]", Tap("encoder.3", "input", 1, ("mask", "0"))),
        ("[features][1]", Tap("", element=("features", "1"))),
        ("right.deep-path", Tap("right.deep-path")),
    ],
)
def test_text_and_tap_say_the_same(text: str, tap: Tap) -> None:
    assert Tap.parse(text) == tap
    assert Tap.parse(str(tap)) == tap


@pytest.mark.parametrize("text", ["", "  ", "a b", "a#x", "a@side", "a[", "a[]", "a#1@input", "a*b"])
def test_other_text_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a layer's name. Expected MODULE"):
        Tap.parse(text)


def test_pick_finds_elements_of_every_container() -> None:
    tensor = torch.zeros(1)
    named = namedtuple("named", "x y")
    assert pick(tensor, (), "m") is tensor
    assert pick({"a": [0, tensor]}, ("a", "1"), "m") is tensor
    assert pick({3: tensor}, ("3",), "m") is tensor
    assert pick((0, tensor), ("-1",), "m") is tensor
    assert pick(named(0, tensor), ("y",), "m") is tensor


def test_pick_lists_what_there_is() -> None:
    with pytest.raises(ElementError, match=r"m gives a dict with m\[a\], m\[b\]. Name the element"):
        pick({"a": 1, "b": 2}, (), "m")
    with pytest.raises(ElementError, match=r"m\[a\] has no element '7'; it gives a list with m\[a\]\[0\]"):
        pick({"a": [1]}, ("a", "7"), "m")
    with pytest.raises(ElementError, match=r"m has no element '0'; it gives a tensor \(2, 3\)"):
        pick(torch.zeros(2, 3), ("0",), "m")
