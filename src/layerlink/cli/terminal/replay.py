"""What `layerlink replay` prints: the step, its terms, what was first not finite, the layers around it."""

from __future__ import annotations

import math

from layerlink.cli.terminal.console import Console
from layerlink.lab.replay.look import Look
from layerlink.lab.replay.readings import Reading
from layerlink.lab.replay.replaying import Replay

AROUND = 4  # layers that are shown before the first whose numbers are not finite, and after it


def show_replay(console: Console, replay: Replay, *, every_layer: bool) -> None:
    """Print it all."""
    (epoch, step), seen, beside = replay.place, replay.seen, replay.beside
    if replay.said:
        console.say(f"the run said   {replay.said}")
    console.say(
        f"step           epoch {epoch + 1}, step {step + 1} of {replay.steps}, {replay.examples} {replay.noun}; from "
        f"{replay.came_from}"
    )
    looks = [seen, *([beside] if beside else [])]
    columns = [it.precision for it in looks]
    if seen.terms:
        rows = [
            (name, f"{seen.weights[name]:g}", *(_number(it.terms.get(name, math.nan)) for it in looks))
            for name in seen.terms
        ]
        console.table(("term", "weight", *columns), [*rows, ("weighted sum", "", *(_number(it.total) for it in looks))])
    for it in looks:
        where = f"first not finite in {it.precision}   "
        console.say(where + (it.first or "nothing: every layer, term, gradient and weight is finite"))
        if it.stopped:
            console.say(f"the step ended before its loss   {it.stopped}")
    _show_layers(console, seen, beside, every_layer=every_layer)
    for note in replay.notes:
        console.say(f"note: {note}")


def _show_layers(console: Console, seen: Look, beside: Look | None, *, every_layer: bool) -> None:
    readings = list(seen.readings)
    first = next((place for place, it in enumerate(readings) if not math.isfinite(it.given)), None)
    if not every_layer:
        if first is None:
            console.say(f"{len(readings)} layers were looked at; all of them: --layers")
            return
        readings = readings[max(first - AROUND, 0) : first + AROUND + 1]
    exact = {(it.role, it.layer, it.call): it for it in (beside.readings if beside else ())}
    columns = ["layer", "takes", f"gives ({seen.precision})", *(["float32"] if beside else []), "weights"]
    console.table(columns, [_row(it, exact if beside else None) for it in readings])
    left = len(seen.readings) - len(readings)
    console.say(f"largest absolute values{f'; {left} layers more: --layers' if left else ''}")


def _row(reading: Reading, exact: dict[tuple[str, str, int], Reading] | None) -> list[str]:
    cells = [reading.name.removeprefix("the "), _number(reading.taken), _number(reading.given)]
    if exact is not None:
        other = exact.get((reading.role, reading.layer, reading.call))
        cells.append("-" if other is None else _number(other.given))
    return [*cells, _number(reading.weights) if reading.weights else "-"]


def _number(value: float) -> str:
    return f"{value:.4g}"
