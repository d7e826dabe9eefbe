"""How many cases a property test runs, and ways to damage a file. Two profiles: see ``conftest.py``."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st


def cases(share: float) -> settings:
    """Settings of a test whose cases cost more, or less, than others: ``share`` of the profile's number."""
    return settings(max_examples=max(5, round(settings.default.max_examples * share)))  # type: ignore[union-attr]


@st.composite
def damages(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with one to three damages: cut short, bits turned, bytes put in, taken out, zeroed or repeated."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.sampled_from([1, 1, 2, 4, 16, 200]))
        kind = draw(st.sampled_from(["cut", "bit", "bit", "byte", "insert", "remove", "zero", "repeat"]))
        head, piece, tail = data[:start], data[start : start + length], data[start + length :]
        if kind == "cut":
            data = head
        elif kind == "bit":
            data = head + bytes([piece[0] ^ 1 << draw(st.integers(0, 7))]) + piece[1:] + tail if piece else data
        elif kind == "byte":
            data = head + draw(st.binary(min_size=1, max_size=4)) + tail
        elif kind == "insert":
            data = head + draw(st.binary(min_size=1, max_size=8)) + piece + tail
        elif kind == "remove":
            data = head + tail
        elif kind == "zero":
            data = head + bytes(len(piece)) + tail
        else:
            data = head + piece + piece + tail
    return data
