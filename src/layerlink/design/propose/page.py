"""A proposal's page: the links first, then the heat map of all pairs, then why other layers are not among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerlink.design.propose.proposal import COLUMNS, Proposal, shown
from layerlink.lab.report.page.charts import ROOM, room
from layerlink.lab.report.page.page import Cell, Picture, Section, Table, write_sections
from layerlink.lab.report.page.vega import alt

if TYPE_CHECKING:
    from layerlink.design.propose.probe import Probes

_CELL = 17  # pixels
_LIGHT_FROM = 0.46  # of viridis, from where black stands out more than white does


def write_proposal_page(
    path: Path, proposal: Proposal, *, models: tuple[str, str], machine: Mapping[str, Any], probes: Probes | None = None
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the HTML file.
        proposal: what was found.
        models: names of teacher and student.
        machine: as ``describe_machine`` gives it.
        probes: what short trainings showed, where there were any.
    """
    title = f"Which layers of {models[0]} teach which of {models[1]}"
    heat_map = Picture("Similarity of all pairs (CKA); the links are framed", similarity_map(proposal), wide=True)
    about = (
        f"Linear CKA by the minibatch-unbiased estimator, over {proposal.images:,} {proposal.noun} in batches "
        f"of {proposal.batch:,}: about 0 for layers that have nothing in common, 1 for equal ones. A student that is "
        "not trained is like the teacher by chance alone, so size and depth decide who teaches whom."
    )
    sections = [
        Section("Links", _links_table(proposal), text=proposal.pasted),
        *([Section("Short trainings", probes.table, text=probes.answer)] if probes else []),
        Section("All pairs", pictures=(heat_map,), text=about),
        Section("Left out", _left_out_table(proposal)),
    ]
    provenance = [("repeat", str(machine["command"]))]
    provenance += [(name, _words(value)) for name, value in machine.items() if name != "command" and value]
    write_sections(path, title=title, answer=_answer(proposal, probes), sections=sections, provenance=provenance)


def _answer(proposal: Proposal, probes: Probes | None) -> str:
    if not proposal.chosen:
        return "Nothing is left for links to teach: every pair is alike already."
    pairs = ", ".join(
        str(link.student) if str(link.teacher) == str(link.student) else f"{link.teacher} -> {link.student}"
        for link in proposal.chosen
    )
    count, cost = len(proposal.chosen), sum(link.milliseconds for link in proposal.chosen)
    said = f"{count} link{'s' * (count > 1)}: {pairs}. Together about {cost:.1f} ms a batch of {proposal.batch:,} here."
    return " ".join([said, *([probes.answer] if probes else []), *(f"{note}." for note in proposal.notes)])


def _links_table(proposal: Proposal) -> Table:
    rows = []
    for link in proposal.chosen:
        words = dict(zip(COLUMNS, link.words(), strict=True))
        numbers = {"similar": link.similar, "costs": link.milliseconds, "stored": float(link.stored)}
        rows.append(tuple(Cell(words[name], numbers[name]) if name in numbers else words[name] for name in COLUMNS))
    note = (
        f"costs: adapter and loss, forward and backward, a batch of {proposal.batch:,}, measured on this machine. "
        f"stored: one of the {proposal.noun} on disk with teacher.store in bfloat16."
    )
    return Table(COLUMNS, tuple(rows), note)


def _left_out_table(proposal: Proposal) -> Table:
    rows = [(str(it.layer), it.side, it.layer.words, it.reason, it.detail) for it in proposal.left_out]
    counts = Counter(it.reason for it in proposal.left_out)
    note = "; ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return Table(
        ("layer", "of", "size", "reason", "more"),
        tuple(rows),
        f"{note}; {proposal.inside} more modules are inside of blocks, or give what another gives.",
    )


def similarity_map(proposal: Proposal) -> alt.LayerChart:
    """A row a layer of the teacher, a column a layer of the student, from the first to the last; links are framed."""
    linked = {(link.teacher.order, link.student.order) for link in proposal.chosen}
    rows, columns = _names(proposal.teacher_layers), _names(proposal.student_layers)
    data = []
    for one, values in zip(proposal.teacher_layers, proposal.similarity, strict=True):
        for other, value in zip(proposal.student_layers, values, strict=True):
            data.append(
                {"down": rows[one.order], "across": columns[other.order], "cka": value, "text": shown(value)}
                | {"linked": "yes" if (one.order, other.order) in linked else "no"}
                | {"sizes": f"{one.words} and {other.words}"}
                | {"ink": "#000000" if (value or 0) >= _LIGHT_FROM else "#ffffff"}
            )
    told = [
        alt.Tooltip("down:N", title="teacher"),
        alt.Tooltip("across:N", title="student"),
        alt.Tooltip("text:N", title="CKA"),
        alt.Tooltip("sizes:N", title="sizes"),
        alt.Tooltip("linked:N", title="linked"),
    ]
    return _drawn(data, list(rows.values()), list(columns.values()), told)


def _drawn(data: list[dict[str, Any]], rows: list[str], columns: list[str], told: list[alt.Tooltip]) -> alt.LayerChart:
    limit: Any = {"expr": f"min(200, {ROOM} * 0.3)"}
    x = alt.X(
        "across:N",
        title="student",
        sort=columns,
        axis=alt.Axis(grid=False, labelAngle=-45, labelAlign="right", labelBaseline="top", labelLimit=150),
    )
    y = alt.Y("down:N", title="teacher", sort=rows, axis=alt.Axis(grid=False, labelLimit=limit))
    base = alt.Chart(alt.InlineData(values=data)).encode(x, y)
    colour = alt.Color(
        "cka:Q",
        scale=alt.Scale(scheme="viridis", domain=[0, 1], clamp=True),
        legend=alt.Legend(title="CKA", orient="right", gradientLength=120),
    )
    cells = base.mark_rect(invalid=None).encode(colour, tooltip=told).add_params(room())
    framed = "datum.linked === 'yes'"
    frames = [
        base.transform_filter(framed)
        .mark_rect(filled=False, stroke=ink, strokeWidth=width, opacity=1)
        .encode(tooltip=told)
        for ink, width in (("#000000", 5), ("#ffffff", 2.5))
    ]
    numbers = (
        base.transform_filter(framed)
        .mark_text(fontSize=11, fontWeight=700)
        .encode(text="text:N", color=alt.Color("ink:N", scale=None, legend=None), tooltip=told)
    )
    chart: alt.LayerChart = alt.LayerChart(layer=[cells, *frames, numbers]).resolve_scale(color="independent")
    finished: alt.LayerChart = chart.properties(
        title="Similarity of all pairs",
        description="Linear CKA of every layer of the teacher with every layer of the student",
        width="container",
        height=len(rows) * _CELL,
    )
    return finished


def _names(layers: Sequence[Any]) -> dict[int, str]:
    """Each layer with its size, by its place."""
    return {layer.order: f"{layer}   {layer.words}" for layer in layers}


def _words(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
