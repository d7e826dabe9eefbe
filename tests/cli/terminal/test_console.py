from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from layerlink.cli.terminal.console import broken


@given(st.text("ab  /", min_size=1).filter(str.strip), st.integers(10, 60))
def test_a_broken_line_loses_no_word_and_keeps_to_the_width(text: str, width: int) -> None:
    pieces = broken(text, width)
    assert " ".join(pieces).split() == text.split()
    assert all(len(piece) <= width or len(piece.split()) == 1 for piece in pieces)


def test_what_fits_stays_as_it_is() -> None:
    assert broken("teacher    vgg16   a/b", 30) == ["teacher    vgg16   a/b"]
    assert broken("warning: a link of no use to anybody", 20) == ["warning: a link of", "no use to anybody"]
    assert broken("no-blank-anywhere-in-this", 10) == ["no-blank-anywhere-in-this"]
