"""Text of a static figure, made to take the room it was laid out with in whatever font its reader has.

A figure is laid out with the widths of Helvetica (the renderer's Liberation Sans has the same). A reader's font may be
a fifth wider, and then names at the edge are cut off. ``textLength`` tells a viewer how long a text is to be.
"""

from __future__ import annotations

import re
import unicodedata
from html import unescape

# Advance widths in thousandths of the font's size, from the space to the tilde: Adobe's published metrics (AFM) of
# Helvetica and Helvetica-Bold.
_REGULAR = (
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556),
    *(1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778),
    *(667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556),
    *(333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556),
    *(556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584),
)
_BOLD = (
    *(278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611),
    *(975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778),
    *(667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556),
    *(333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611),
    *(611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584),
)
_BOLD_FROM = 600
_OTHERS = {
    "“": 333,
    "”": 333,
    "±": 584,
    "\N{MINUS SIGN}": 584,
    "…": 1000,
    "\N{EN DASH}": 556,
    "\N{MULTIPLICATION SIGN}": 584,
    "·": 278,
    "→": 1000,
}
_TEXT = re.compile(r"<text(?P<attributes>[^>]*)>(?P<content>[^<]*|(?:<tspan[^>]*>[^<]*</tspan>)+)</text>")
_LINE = re.compile(r"<tspan(?P<attributes>[^>]*)>(?P<content>[^<]*)</tspan>")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is in Helvetica.

    Args:
        text: a line.
        size: of the font, in pixels.
        bold: whether in Helvetica-Bold.

    Returns:
        Pixels. Letters with marks are as wide as without; what Helvetica does not have counts as a digit, or as the
        whole size where it is one of the wide letters of East Asia.

    >>> round(text_width("links 2-5", 12), 3)
    44.676
    """
    widths = _BOLD if bold else _REGULAR
    return sum(_letter(letter, widths) for letter in unicodedata.normalize("NFD", text)) * size / 1000


def _letter(letter: str, widths: tuple[int, ...]) -> int:
    place = ord(letter) - 32
    if 0 <= place < len(widths):
        return widths[place]
    if letter in _OTHERS:
        return _OTHERS[letter]
    if unicodedata.combining(letter):
        return 0
    return 1000 if unicodedata.east_asian_width(letter) in "WF" else 556


def with_fixed_widths(svg: str) -> str:
    """The figure with the length of every text written down; one that has them already stays as it is."""
    return _TEXT.sub(_fixed, svg)


def _fixed(match: re.Match[str]) -> str:
    attributes, content = match["attributes"], match["content"]
    size = re.search(r'font-size="([0-9.]+)px"', attributes)
    if "textLength" in match[0] or size is None or not content.strip():
        return match[0]
    weight = re.search(r'font-weight="(\w+)"', attributes)
    heavy = weight is not None and (weight[1] == "bold" or (weight[1].isdigit() and int(weight[1]) >= _BOLD_FROM))

    def fixed(attributes: str, content: str) -> str:
        width = text_width(unescape(content), float(size[1]), bold=heavy)
        return f'{attributes} textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs">{content}'

    if "<tspan" in content:
        lines = (f"<tspan{fixed(line['attributes'], line['content'])}</tspan>" for line in _LINE.finditer(content))
        return f"<text{attributes}>{''.join(lines)}</text>"
    return f"<text{fixed(attributes, content)}</text>"
