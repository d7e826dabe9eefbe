from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cases import cases
from layerlink.errors import UsageError
from layerlink.taps.element import ElementError, pick
from layerlink.taps.modules import no_such_layer
from layerlink.taps.tap import Tap


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
        ("@output", Tap("")),
    ],
)
def test_text_and_tap_say_the_same(text: str, tap: Tap) -> None:
    assert Tap.parse(text) == tap
    assert Tap.parse(str(tap)) == tap


@pytest.mark.parametrize(
    "text", ["", "  ", "a b", "a#x", "a@side", "a[", "a[]", "a#1@input", "a*b", "a#²", "a#" + "1" * 5000]
)
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
    assert pick((tensor, 0), ("-2",), "m") is tensor
    assert pick(named(0, tensor), ("y",), "m") is tensor


def test_pick_lists_what_there_is() -> None:
    with pytest.raises(ElementError, match=r"m gives a dict with m\[a\], m\[b\]. Name the element"):
        pick({"a": 1, "b": 2}, (), "m")
    with pytest.raises(ElementError, match=r"m\[a\] has no element '7'; it gives a list with m\[a\]\[0\]"):
        pick({"a": [1]}, ("a", "7"), "m")
    with pytest.raises(ElementError, match=r"m has no element '0'; it gives a tensor \(2, 3\)"):
        pick(torch.zeros(2, 3), ("0",), "m")


@pytest.mark.parametrize(
    ("value", "element", "message"),
    [
        ({"a": {"b": {}}}, ("a", "b", "c"), "m[a][b] has no element 'c'; it gives a dict with nothing in it"),
        ({"a": {"b": 3}}, ("a", "b"), "m[a][b] gives a int. Name the element to read"),
        (namedtuple("named", "x y")(0, 1), (), "m gives a named with m[x], m[y]. Name the element to read"),
        ([[], 1], ("-3",), "m has no element '-3'; it gives a list with m[0], m[1]"),
    ],
)
def test_pick_says_where_it_stood_and_what_it_found(value: object, element: tuple[str, ...], message: str) -> None:
    with pytest.raises(ElementError) as caught:
        pick(value, element, "m")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("count", "hint"),
    [
        (3, "It has 0, 1, 2"),
        (12, "It has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        (13, "It has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..."),
    ],
)
def test_a_path_like_no_other_is_answered_with_the_first_twelve(count: int, hint: str) -> None:
    model = nn.Sequential(*(nn.Identity() for _ in range(count)))
    expected = f"the teacher has no layer 'x'. {hint}. All of them: layerlink layers MODEL"
    assert no_such_layer(model, "x", "teacher") == expected


def test_a_path_like_several_is_answered_with_those() -> None:
    model = nn.ModuleDict({name: nn.Identity() for name in ("group1", "group2", "other")})
    assert "'group'. Closest: group1, group2. All" in no_such_layer(model, "group", "student")


def test_a_key_that_looks_like_a_number_and_is_none() -> None:
    with pytest.raises(ElementError, match="has no element"):
        pick({"a": 1}, ("²",), "m")
    with pytest.raises(ElementError, match="has no element"):
        pick([1], ("1" * 5000,), "m")


PARTS = (
    "a",
    ".",
    "layer1",
    "@input",
    "@output",
    "@",
    "#",
    "#1",
    "#007",
    "[",
    "]",
    "[0]",
    "[-1]",
    "[a b]",
    " ",
    "²",
    "9" * 5000,
)


@given(st.text(max_size=30) | st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
@cases(2)
def test_any_text_is_a_tap_or_a_usage_error(text: str) -> None:
    try:
        tap = Tap.parse(text)
    except UsageError as error:
        assert "is not a layer's name" in str(error)
        return
    assert Tap.parse(str(tap)) == tap


VALUES = st.recursive(
    st.sampled_from([torch.zeros(2), None, "text", 3]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "0", 0, 1]), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.lists(st.sampled_from(["a", "0", "1", "-1", "²", "-", "x" * 50, "9" * 5000]), max_size=4))
def test_any_element_of_any_value_is_a_tensor_or_told(value: object, element: list[str]) -> None:
    try:
        assert isinstance(pick(value, element, "m"), torch.Tensor)
    except ElementError as error:
        assert str(error).startswith("m")
