"""What `layerlink export` prints: a line a file, what it was compared on, where everything is."""

from __future__ import annotations

from collections.abc import Sequence

from layerlink.cli.terminal.console import Console
from layerlink.design.export import Exported


def show_exports(console: Console, written: Sequence[Exported]) -> None:
    """Print the table and what belongs to it."""
    first = written[0]
    columns = ("", "file", "size", "largest difference", "agrees", *_of_teacher(first), first.score.words)
    columns = (*columns, *(f"batch {batch}, ms (torch)" for batch in first.latency))
    console.table(columns, [_row(it) for it in written])
    like = f", {first.torch_teacher_agreement:.2f} % like the teacher" if _of_teacher(first) else ""
    of_all = "" if first.images == first.all_images else f" of {first.all_images:,}"
    console.say(
        f"student    {first.score.show(first.torch_score)}{like}; on {first.images:,}{of_all} test {first.examples}, "
        "from every class; largest difference: between two outputs"
    )
    for found in written:
        if found.int8:
            console.say(f"int8       {_lost(found)}")
    for note in dict.fromkeys(note for found in written for note in found.notes):
        console.say(f"note: {note}")
    console.say(f"written    {first.path.parent}, with export.json")


def _of_teacher(found: Exported) -> tuple[str, ...]:
    return () if found.teacher_agreement is None else ("agrees with teacher",)


def _row(found: Exported) -> list[str]:
    agrees = "-" if found.agreement is None else f"{found.agreement:.2f} %"
    like = [f"{found.teacher_agreement:.2f} %"] if found.teacher_agreement is not None else []
    times = [f"{own.median:.2f} ({other.median:.2f})" for own, other in found.latency.values()]
    kind = f"{found.format} int8" if found.int8 else found.format
    difference = f"{found.largest_difference:.1e} of {found.largest_output:.1f}"
    return [
        kind,
        found.path.name,
        _size(found.bytes),
        difference,
        agrees,
        *like,
        found.score.show(found.file_score),
        *times,
    ]


def _lost(found: Exported) -> str:
    what = "points" if found.score.unit == "%" else "percent of it"
    if found.loss > 0:
        return f"of {found.format} loses {found.loss:.2f} {what}"
    return f"of {found.format} loses nothing{f': {-found.loss:.2f} {what} more' if found.loss < 0 else ''}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.2f} MB" if count >= 10_000 else f"{count:,} bytes"
