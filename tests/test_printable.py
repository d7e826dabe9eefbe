"""The one filter of texts that are shown."""

from __future__ import annotations

import subprocess
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlink.printable import all_printable, in_a_cell, in_a_shell, one_line, printable


def test_what_steers_or_turns_is_spelled_out() -> None:
    assert one_line("a\x1b[31mb\x07\x9b\u202ec\u2066\u2028\ud800\uffff\tz\n") == (
        r"a\x1b[31mb\x07\x9b\u202ec\u2066\u2028\ud800\uffff\tz\n"
    )
    assert printable("one\r\ntwo\x1b") == "one\\r\ntwo\\x1b"


def test_letters_of_any_script_stay() -> None:
    for text in ("größer", "層 3", "שָׁלוֹם", "مرحبا\u200f", "प्यार", "👩\u200d🔬", "e\u0301"):
        assert one_line(text) == text


@given(st.text())
def test_the_rest_is_one_line_of_what_xml_may_hold(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    ET.fromstring(f"<a>{shown.replace('&', '').replace('<', '')}</a>")
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert one_line(shown) == shown


@given(st.text())
def test_no_cell_begins_a_formula(text: str) -> None:
    assert not in_a_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_texts_inside_of_values() -> None:
    value = {"a\n": ["b\x1b", 3, None, {"c": "\u202e"}], "d": True}
    assert all_printable(value) == {"a\\n": ["b\\x1b", 3, None, {"c": "\\u202e"}], "d": True}


@pytest.mark.parametrize(
    "name", ["run", "a b", "-x/run", "it's", "two\nlines", "a\tb\\n", "$HOME `x`", "~", "ünï", "%s"]
)
def test_a_path_that_is_pasted_is_the_path(name: str) -> None:
    word = in_a_shell(Path(name))
    assert "\n" not in word
    got = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True).stdout
    assert Path(got) == Path(name)
    assert not got.startswith("-")
