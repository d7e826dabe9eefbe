"""The score of each class alone, in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerlink.cli.terminal.console import Console
from layerlink.printable import one_line
from layerlink.tasks import Score


def show_by_class(console: Console, reading: Mapping[str, Any]) -> None:
    """Print what ``evaluate_run`` read of each class of the test images; nothing where it read no such."""
    own, taught = reading.get("by_class", {}), reading.get("teacher_by_class", {})
    if not own:
        return
    score = Score.of(reading.get("score"))
    wide = max(len("class"), *(len(one_line(name)) for name in own))
    console.say(f"{'class':<{wide}}   {'test':>8}{'   teacher' if taught else ''}")
    for name, value in own.items():
        other = f"  {_shown(score, taught.get(name)):>8}" if taught else ""
        console.say(f"{one_line(name):<{wide}}   {_shown(score, value):>8}{other}")


def _shown(score: Score, value: float | None) -> str:
    return "-" if value is None else score.show(value)
