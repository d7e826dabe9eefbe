"""What a report prints: the answer, the table, where the page is."""

from __future__ import annotations

from layerlink.cli.terminal.console import Console
from layerlink.lab.report.building import Report
from layerlink.lab.report.page.page import shown_text


def show_report(console: Console, written: Report) -> None:
    """Print what a report says."""
    console.say(written.answer)
    console.say("")
    rows = [[shown_text(entry) for entry in row] for row in written.table.rows]
    console.table(written.table.columns, rows, rest="On the page")
    if written.left_out:
        console.say("")
        console.say(written.left_out)
    console.say("")
    console.say(f"page   {written.page}")
