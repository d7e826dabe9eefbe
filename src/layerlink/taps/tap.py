"""Taps: named read points in any ``nn.Module``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from layerlink.errors import UsageError

# A name that holds a character of the grammar of taps or links stands in backticks, one of its own doubled.
_BARE = r"(?:(?!->)[^\s@#\[\]():*+/,`])*"
_QUOTED = r"`(?:[^`]|``)+`"
_KEY = rf"\[(?:[^\[\]`]+|{_QUOTED})\]"
_TAP = re.compile(
    rf"(?P<module>{_QUOTED}|{_BARE})(@(?P<side>input|output))?(#(?P<call>[0-9]{{1,9}}))?(?P<element>(?:{_KEY})*)"
)
TAP_FORM = (
    "MODULE[@input][#CALL][[ELEMENT]], such as layer3.0, relu#1, block@input or encoder[hidden_states][2]; a name that "
    "holds a blank or one of @ # [ ] ( ) : * + / , -> stands in backticks"
)


@dataclass(frozen=True)
class Tap:
    """A read point in a model.

    Args:
        module: the module's path, as in ``model.named_modules()``; empty for the model itself.
        side: what is read, the module's output or its first input.
        call: which call of the module in one forward pass, from 0. None: its only one; a module that runs more
            than once is then an error, because nothing says which run is meant.
        element: keys into what the module returns (or receives): indices of a tuple or list, keys of a mapping,
            attribute names of a dataclass. On the input side the first key is a position or a keyword.
        of: the teacher's name, where there are several; empty for the one model that is read.
    """

    module: str
    side: Literal["input", "output"] = "output"
    call: int | None = None
    element: tuple[str, ...] = ()
    of: str = ""

    @classmethod
    def parse(cls, text: str) -> Tap:
        """The tap that ``text`` names.

        Raises:
            UsageError: where the text has not the form of a tap.

        >>> Tap.parse("encoder.2@input#1[0]")
        Tap(module='encoder.2', side='input', call=1, element=('0',), of='')
        """
        match = _TAP.fullmatch(text.strip())
        if match is None or not text.strip():
            raise UsageError(f"{text.strip()!r} is not a layer's name. Expected {TAP_FORM}")
        return cls(
            module=_unquoted(match["module"]),
            side="input" if match["side"] == "input" else "output",
            call=None if match["call"] is None else int(match["call"]),
            element=tuple(_unquoted(key[1:-1]) for key in re.findall(_KEY, match["element"])),
        )

    def __str__(self) -> str:
        side = "@input" if self.side == "input" else ""
        call = "" if self.call is None else f"#{self.call}"
        keys = "".join(f"[{_quoted(key, _PLAIN_KEY)}]" for key in self.element)
        whose = f"{self.of}/" if self.of else ""
        name = f"{_quoted(self.module, _BARE)}{side}{call}{keys}"
        return f"{whose}{name or '@output'}"  # of the model


_PLAIN_KEY = r"[^\[\]()`]*"


def _quoted(name: str, bare: str) -> str:
    """A name as it stands in a text: in backticks where it must."""
    return name if re.fullmatch(bare, name) else f"`{name.replace('`', '``')}`"


def _unquoted(text: str) -> str:
    return text[1:-1].replace("``", "`") if text.startswith("`") else text


OUTPUT = Tap("")  # what the model gives; where it is no tensor, see ``Observed``
