"""What `layerlink shrink` prints: what the student is and costs, how it begins, what to do next."""

from __future__ import annotations

from layerlink.cli.terminal.console import Console
from layerlink.design.shrink.folder import StudentFolder
from layerlink.design.shrink.shrinking import Shrunk
from layerlink.printable import in_a_shell

COLUMNS = ("", "teacher", "student", "share")


def show_shrunk(console: Console, folder: StudentFolder, shrunk: Shrunk) -> None:
    """Print the student, its costs, its files."""
    rows = [
        [kind, f"{shrunk.counts[kind][0]:,}", f"{shrunk.counts[kind][1]:,}", f"{shrunk.shares[kind]:.3f}"]
        for kind in ("params", "flops")
    ]
    if "latency" in shrunk.shares:
        rows.append(["latency", "", "", f"{shrunk.shares['latency']:.3f}"])
    console.table(COLUMNS, rows)
    for place, count, of in shrunk.kept:
        console.say(f"layers {count} of {of} in {place or 'the model itself'}")
    if shrunk.width < 1:
        console.say(f"width  {100 * shrunk.width:.0f} % of the channels asked for")
    for place, share in shrunk.explained.items():
        console.say(f"fitted {place}: explains {100 * share:.1f} % of what the layers that it stands for give")
    for link in shrunk.links:
        console.say(f"link   {link}")
    for note in shrunk.notes:
        console.say(f"note: {note}")
    console.say(f"source {folder.source}")
    console.say(f"start  {folder.weights}")
    console.say(f"next   layerlink run {in_a_shell(folder.recipe)}")
