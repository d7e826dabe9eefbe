from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cases import cases
from layerlink.errors import UsageError
from layerlink.transfer import Link, Tap
from layerlink.transfer.link import user_code
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


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("@output : dkd(beta=8)", {"teacher": Tap(""), "loss": "dkd", "options": {"beta": 8}}),
        ("layer1 + layer2 : fsp", {"student": (Tap("layer1"), Tap("layer2")), "loss": "fsp"}),
        ("big/layer3 -> group3 : vid, adapter=auto", {"which": "big", "teacher": Tap("layer3"), "adapter": "auto"}),
        ("a -> b : mse, adapter=conv1x1(norm=True)", {"adapter": "conv1x1(norm=True)"}),
        ("a : mse, where=[batch][attention_mask]", {"where": "[batch][attention_mask]"}),
        ("a : mse, where=not key_mask, teacher_where=m", {"where": "not key_mask", "teacher_where": "m"}),
        ("a : mse * 2, from=2, until=5, warmup=3", {"start": 2.0, "until": 5.0, "warmup": 3.0, "weight": 2.0}),
        (
            "a : my.losses:rkd(x='a,b)*', y=[1, 2]) * 3",
            {"loss": "my.losses:rkd", "options": {"x": "a,b)*", "y": [1, 2]}},
        ),
        (
            "`a -> b * c`#1[`k]`] -> `d``e` : mse",
            {"teacher": Tap("a -> b * c", "output", 1, ("k]",)), "student": Tap("d`e")},
        ),
        (
            "a : kd(temperature=2.5, t_squared=False, form=cross-entropy)",
            {"options": {"temperature": 2.5, "t_squared": False, "form": "cross-entropy"}},
        ),
    ],
)
def test_the_grammar(text: str, fields: dict[str, Any]) -> None:
    link = Link.parse(text)
    assert {name: getattr(link, name) for name in fields} == fields
    again = replace(link, text="")
    assert Link.parse(again.text) == link


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@output : dkd(bta=8)", "unknown option of dkd 'bta'. Did you mean beta?"),
        ("a : kd(temperature=hot)", "kd: temperature must be a number; got 'hot'"),
        ("a : kd(temperature=2", "a ) is missing at the end"),
        ("`a : mse", "a ` is missing at the end"),
        ("a : kd(2)", "expected options of kd such as kd(temperature=2); got '2'"),
        ("a : kd(temperature=1, temperature=2)", "the option temperature of kd stands here twice"),
        ("a : kd(temperature=__import__('os'))", "is no value"),
        ("a : kd(temperature=1e999)", "is no value: give finite numbers"),
        ("a : mse, adapter=conv 1", "'conv 1' is no adapter's name. Expected one such as auto"),
        ("a : mse, weight=2", "a weight stands behind the loss: mse * 2, OPTIONS in place of weight=2"),
        ("a : mse, form=2", "unknown option of a link 'form'. Did you mean from?"),
        ("a : mse, from=5, until=3", "a link's until must be later than from (5); got 3"),
        ("x y/a : mse", "'x y' is not a teacher's name"),
        ("a : crd(negatives=2.5)", "CRD: negatives must be a whole number; got 2.5"),
    ],
)
def test_wrong_grammar_is_answered(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Link.parse(text)
    assert message in str(caught.value)


def test_links_at_the_output_do_not_take_what_is_set_for_layers() -> None:
    given = {"scale": "teacher", "until": 3.0, "decay": "linear"}
    assert Link.parse("@output : kd").filled(**given) == Link.parse("@output : kd")
    assert Link.parse("a : mse").filled(**given).until == 3.0


def test_parsing_imports_nothing() -> None:
    link = Link.parse("a : no_such_package_at_all.losses:rkd * 2")
    assert user_code([link, "b : mse"]) == ["no_such_package_at_all.losses:rkd"]
    own = "b : mse, adapter=no_such_package_at_all.adapters:tall(wide=2)"
    assert user_code([own, "b : mse, adapter=conv1x1"]) == ["no_such_package_at_all.adapters:tall"]


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
        ("a :" + " " * 3000 + ":", "':' is no loss's name. Expected one such as mse"),
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
    assert all(Tap.parse(str(tap)) == tap for tap in (*link.teacher_taps, *link.student_taps))
    assert Link.parse(replace(link, text="").text) == link


PARTS = ("a", "layer1.0", "->", " -> ", ":", " : ", "mse", "*", " * ", "40", "1e-3", "1234567.8", "0.1", "nan", "1e999")
MORE = (
    ",",
    ", scale=gradient",
    ", until=3.25",
    ", decay=linear",
    "scale=",
    ", from=1",
    ", adapter=auto",
    ", where=m",
    "big/",
    " + ",
    "(",
    ")",
    "kd(temperature=2)",
    "`a -> b`",
    "`",
    "'",
    "p.q:f",
    "@output",
    "@input",
    "#1",
    "#",
    "[x]",
    "[0]",
    "[",
    "]",
)
LONG = (" " * 5000, "9" * 5000, "a" * 5000, "[a]" * 500, "²", "٣", "\t", "\0", "\ud800", "é")


@given(st.text(max_size=40) | st.text(alphabet="ab.-> :*@#[]0 mse1,=()`'+/", max_size=40))
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


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="."), min_size=1, max_size=12)


@given(NAMES, NAMES)
@cases(2)
def test_every_name_that_a_module_can_have_is_given_back(name: str, key: str) -> None:
    model = nn.Module()
    model.add_module(name, nn.Identity())
    (found,) = [path for path, _ in model.named_modules() if path]
    for tap in (Tap(found), Tap(found, "input", 3), Tap(found, element=(key, "0"))):
        assert Tap.parse(str(tap)) == tap
        link = Link(tap, Tap("b"))
        assert Link.parse(link.text) == link


def test_fields_may_be_texts() -> None:
    """As one writes a link in Python first."""
    link = Link("layer3.0@input", "[0]", loss="kd(temperature=2, t_squared=False)", weight=2, options={"form": "js"})
    assert link == Link(
        Tap("layer3.0", "input"), Tap("", element=("0",)), "kd", 2.0,
        options={"temperature": 2, "t_squared": False, "form": "js"},
    )  # fmt: skip
    assert Link(("a", "b"), ["c", Tap("d")], "fsp") == Link.parse("a + b -> c + d : fsp")
    assert Link(["a"], "b").teacher == Tap("a")
    with pytest.raises(UsageError, match="a link's student is a layer's name, or several in a tuple; got int"):
        Link("layer3", 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'a b' is not a layer's name"):
        Link("a b", "a")


def test_two_losses_of_one_name_at_one_layer_want_a_text() -> None:
    links = [Link("a", "a", loss=lambda s, t: (s - t).mean()), Link("a", "a", loss=lambda s, t: (s + t).mean())]
    assert [what for _, what in read_links(links)[1]] == [
        "another link has this text: give one a text of its own, Link(..., text='...')"
    ]
    assert not read_links([links[0], replace(links[1], text="a : sum")])[1]
