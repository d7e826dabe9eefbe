"""What `layerlink propose` prints: links to paste, a table, what was left out, where the page is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerlink.cli.terminal.console import Console
from layerlink.design.propose.folder import ProposalFolder
from layerlink.design.propose.probe import Probes
from layerlink.design.propose.proposal import COLUMNS, Proposal
from layerlink.errors import LayerlinkError
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.report.page.page import shown_text
from layerlink.printable import in_a_shell


def show_proposal(console: Console, proposal: Proposal) -> None:
    """Print the links, then why, then what was left out."""
    for line in proposal.pasted.split("\n"):
        console.say(line)
    if proposal.chosen:
        console.table(COLUMNS, [link.words() for link in proposal.chosen])
    else:
        console.say("nothing is left for links to teach: every pair is alike already")
    for line in proposal.told_left_out():
        console.say(line)
    for note in proposal.notes:
        console.say(f"note: {note}")
    cost = sum(link.milliseconds for link in proposal.chosen)
    console.say(
        f"similar: unbiased linear CKA over {proposal.images:,} {proposal.noun}; costs: {cost:.1f} ms a batch of "
        f"{proposal.batch:,} in all, here"
    )


def show_probes(console: Console, probes: Probes) -> None:
    """Print the sets, the best first, and whether they differ."""
    console.table(probes.table.columns, [[shown_text(cell) for cell in row] for row in probes.table.rows])
    console.say(probes.answer)
    for text in probes.failed:
        console.warn(f"not counted: {text}")


def show_end(
    console: Console,
    folder: ProposalFolder,
    proposal: Proposal,
    recipe: Recipe,
    machine: Mapping[str, Any],
    probes: Probes | None,
) -> None:
    """Write the page, and print where it is and what to do next. Without the packages for pages the rest stands."""
    models = (recipe.teacher.model if recipe.teacher else "", recipe.student.model)
    try:
        from layerlink.design.propose.page import write_proposal_page

        write_proposal_page(folder.page, proposal, models=models, machine=machine, probes=probes)
        console.say(f"page   {folder.page}")
    except LayerlinkError as error:
        console.warn(f"there is no page: {error}")
    more = "" if probes else "    or --probe: train a few sets for a short time, and see"
    console.say(f"next   layerlink run {in_a_shell(folder.recipe)}{more}")
    if probes:
        console.say(f"       layerlink report {in_a_shell(folder.probes)}")
