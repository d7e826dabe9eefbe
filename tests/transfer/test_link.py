from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from layerlink.errors import UsageError
from layerlink.transfer import Link, Tap
from layerlink.transfer.link_list import links_error, read_links


@pytest.mark.parametrize(
    ("text", "teacher", "student", "weight"),
    [
        ("group3.1 -> group3 : mse * 40", "group3.1", "group3", 40),
        ("group3->group3:mse*40", "group3", "group3", 40),
        ("group3 : mse * 40", "group3", "group3", 40),
        ("group3 : mse", "group3", "group3", 1),
        ("a@input#1[x] -> b[0] : mse * 1e-3", "a@input#1[x]", "b[0]", 1e-3),
        ("  a  ->  b  :  mse  *  0  ", "a", "b", 0),
    ],
)
def test_text_says_what_the_fields_say(text: str, teacher: str, student: str, weight: float) -> None:
    link = Link.parse(text)
    assert link == Link(Tap.parse(teacher), Tap.parse(student), "mse", weight)
    assert link.text == text.strip()


def test_a_link_made_from_fields_names_itself_in_the_same_form() -> None:
    for link in (Link(Tap("a"), Tap("b"), weight=40), Link(Tap("a"), Tap("a")), Link(Tap("a", call=0), Tap("b"))):
        assert Link.parse(link.text) == link
    assert Link(Tap("a"), Tap("b"), weight=40).text == "a -> b : mse * 40"
    assert Link(Tap("a"), Tap("b"), weight=1234567).text == "a -> b : mse * 1234567"
    assert Link(Tap("a"), Tap("a"), weight=1234567.0).text == "a : mse * 1234567"
    assert Link(Tap("a"), Tap("a"), weight=1e6).text == "a : mse * 1e+06"
    assert Link(Tap("a"), Tap("b"), weight=1.0, until=3.0, decay="linear").text == "a -> b : mse, until=3, decay=linear"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group3 mse * 40", 'expected "TEACHER -> STUDENT : LOSS * WEIGHT"'),
        ("a : mse * 40 * 2", "expected"),
        ("a -> b -> c : mse", 'expected one "->" at the most'),
        ("a : msee", "unknown loss 'msee'. Did you mean mse?"),
        ("a : ", "unknown loss ''. Known: kd"),
        ("a : mse * x", "a link's weight must be a number; got 'x'"),
        ("a : mse * -1", "a link's weight must be a finite number >= 0; got -1"),
        ("a : mse * nan", "a link's weight must be a finite number >= 0; got nan"),
        ("a : mse * inf", "got inf"),
        (" -> b : mse", "'' is not a layer's name"),
        ("a b -> c : mse", "'a b' is not a layer's name"),
        ("a :" + " " * 3000 + ":", "':' is no name of a loss. Expected one such as mse"),
    ],
)
def test_a_wrong_text_is_answered(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Link.parse(text)
    assert message in str(caught.value)


def test_all_problems_are_told_at_once_and_in_order() -> None:
    links = ["a : msee", "b : mse", "b : mse", "c"]
    readable, problems = read_links(links)
    assert list(readable) == [1]
    assert [index for index, _ in problems] == [0, 2, 3]
    assert problems[1][1] == "this link stands here twice; add up its weights instead"
    text = str(links_error(links, reversed(problems)))
    assert text.startswith("links: 3 problems")
    assert text.index('links[0] "a : msee"') < text.index('links[2] "b : mse"') < text.index('links[3] "c"')
    text = str(links_error(links, [(0, "zebra"), (0, "ant")]))
    assert text.index("zebra") < text.index("ant")  # what is wrong with one link stays in its order


def test_links_and_texts_stand_side_by_side_and_what_is_neither_is_told() -> None:
    link = Link(Tap("a"), Tap("b"))
    readable, problems = read_links([3, link, "a->b:mse", "c : msee"])  # type: ignore[list-item]
    assert readable == {1: link}
    assert problems == [
        (0, "a link is a text or a layerlink.Link; got int"),
        (2, "this link stands here twice; add up its weights instead"),
        (3, "unknown loss 'msee'. Did you mean mse?"),
    ]


def is_a_link_or_told(text: str) -> None:
    try:
        link = Link.parse(text)
    except UsageError as error:
        assert str(error)
        return
    assert Link.parse(link.text) == link
    assert Tap.parse(str(link.teacher)) == link.teacher
    fields = {name: getattr(link, name) for name in ("scale", "until", "decay")}
    assert Link.parse(str(Link(link.teacher, link.student, link.loss, link.weight, **fields))) == link


PARTS = ("a", "layer1.0", "->", " -> ", ":", " : ", "mse", "*", " * ", "40", "1e-3", "1234567.8", "0.1", "nan", "1e999")
MORE = (
    ",",
    ", scale=gradient",
    ", until=3.25",
    ", decay=linear",
    "scale=",
    "@input",
    "#1",
    "#",
    "[x]",
    "[0]",
    "[",
    "]",
)
LONG = (" " * 5000, "9" * 5000, "a" * 5000, "[a]" * 500, "²", "٣", "\t", "\0", "\ud800", "é")


@given(st.text(max_size=40) | st.text(alphabet="ab.-> :*@#[]0 mse1,=", max_size=40))
def test_any_text_is_a_link_or_a_usage_error(text: str) -> None:
    is_a_link_or_told(text)


@given(st.lists(st.sampled_from((*PARTS, *MORE, *LONG)), max_size=14))
@cases(3)
def test_what_is_nearly_a_link_is_one_or_a_usage_error(parts: list[str]) -> None:
    is_a_link_or_told("".join(parts))


TAPS = st.sampled_from(["a", "layer1.0", "x-y", "a@input", "a#3", "[k][0]", "b@input#1[mask]"])
WEIGHTS = st.floats(0, 1e300) | st.integers(0, 10**7).map(float)


@given(
    TAPS,
    TAPS,
    WEIGHTS,
    st.sampled_from([None, "none", "teacher", "gradient"]),
    st.none() | st.floats(1e-300, 1e300),
    st.sampled_from([None, "none", "linear"]),
)
@cases(2)
def test_a_link_of_any_numbers_says_them_all(
    teacher: str, student: str, weight: float, scale: Any, until: float | None, decay: Any
) -> None:
    link = Link(Tap.parse(teacher), Tap.parse(student), "mse", weight, scale, until, decay)
    assert Link.parse(link.text) == link
