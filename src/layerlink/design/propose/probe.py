"""Short trainings of a few sets of links, side by side on one teacher pass: what a proposal is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerlink.design.propose.folder import ProposalFolder
from layerlink.design.propose.proposal import Proposal
from layerlink.design.propose.proposing import Looked
from layerlink.errors import UsageError
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.report.chance.difference import Seeds
from layerlink.lab.report.chance.spread import spread_of
from layerlink.lab.report.chance.verdict import Verdict, judge
from layerlink.lab.report.page.page import Table
from layerlink.lab.report.tables.table import spread_cell
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.running import Outcome, run_sweep
from layerlink.tasks import ACCURACY, Score

PROPOSED, LABELS, SOFT = "proposed", "labels only", "soft only"
EPOCHS, SEEDS = 2, 2


@dataclass(frozen=True)
class Probes:
    """What short trainings showed.

    Args:
        sets: links by name, the best first.
        values: validation score by name and seed.
        score: of the task.
        answer: which set is best, or that they are not told apart.
        table: a row a set, the best first.
        failed: sets with a run that failed, and why.
    """

    sets: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Seeds]
    score: Score
    answer: str
    table: Table
    failed: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "score": self.score.name,
            "answer": self.answer,
            "sets": [
                {"name": name, "links": list(links), "validation": {str(k): v for k, v in self.values[name].items()}}
                for name, links in self.sets.items()
            ],
        }


def candidate_sets(looked: Looked, proposal: Proposal) -> dict[str, list[str]]:
    """Sets of links that are worth a try, each once: as proposed, the last one alone, one fewer, one more, and with
    the last layers before the output.

    Raises:
        UsageError: where no link is proposed.
    """
    count = len(proposal.links)
    if not count:
        raise UsageError("there is nothing to probe: no link is proposed")
    sets = {PROPOSED: proposal.links, "last link alone": proposal.links[-1:]}
    if count > 2:
        sets["one fewer"] = proposal.links[1:]
    more = looked.proposal(count + 1).links
    if len(more) > count:
        sets["one more"] = more
    sets["all stage ends"] = looked.proposal(near_output=True).links
    kept: dict[str, list[str]] = {}
    for name, links in sets.items():
        if links and links not in kept.values():
            kept[name] = links
    return kept


def sweep_text(sets: Mapping[str, Sequence[str]], recipe: Recipe, *, epochs: int, seeds: int) -> str:
    """The sweep file of the probes: a row a set; labels and softened outputs alone beside them, to compare with."""
    baselines: dict[str, dict[str, Any]] = {}
    if recipe.hard.weight:
        # Beside softened outputs labels often count little; alone they count as they would.
        baselines[LABELS] = {"links": [], **({"soft": None, "hard.weight": 1.0} if recipe.soft else {})}
    if recipe.soft is not None and recipe.soft.weight:
        baselines[SOFT] = {"links": []}
    lines = [
        "title: Short trainings of sets of links",
        "question: Which links are worth training?",
        "base: recipe.yaml",
        f"set: {{training.epochs: {epochs}}}",
        f"seeds: {seeds}",
        *(["baselines:"] if baselines else []),
        *(f"  {name}: {json.dumps(changes)}" for name, changes in baselines.items()),
        "rows:",
        *(f"  {name}: {json.dumps({'links': list(links)}, ensure_ascii=False)}" for name, links in sets.items()),
    ]
    return "\n".join(lines) + "\n"


def run_probes(folder: ProposalFolder, *, command: str, watch: Watch) -> Probes:
    """Train what the folder's sweep file says, all sets of a seed on one teacher pass. Started again, it goes on.

    Args:
        folder: with the recipe and the sweep file.
        command: that repeats it.
        watch: is told what happens.

    Raises:
        ProblemsError: what is wrong with the sweep, such as a schedule that does not fit into so few epochs.
        UsageError: where every run failed.
        Interrupted: where the user asked to stop. The same call goes on.
    """
    plan = load_sweep(str(folder.sweep), out=folder.probes)
    return ranked(run_sweep(plan, command=command, watch=watch))


def ranked(outcomes: Sequence[Outcome]) -> Probes:
    """The sets by their mean validation score, and whether they differ by more than chance.

    Raises:
        UsageError: where every run failed.
    """
    done = [outcome for outcome in outcomes if outcome.result is not None]
    failed = tuple(
        f"{it.planned.row.name}, seed {it.planned.seed}: {it.failure}" for it in outcomes if it.result is None
    )
    if not done:
        raise UsageError(f"every probe failed. The first: {failed[0] if failed else 'none was run'}")
    score = Score.of(done[0].result.get("score") if done[0].result else None)
    values: dict[str, dict[int, float]] = {}
    sets: dict[str, tuple[str, ...]] = {}
    for outcome in done:
        assert outcome.result is not None  # noqa: S101 - filtered above
        name = outcome.planned.row.name
        sets[name] = outcome.planned.loaded.recipe.links
        values.setdefault(name, {})[outcome.planned.seed] = float(outcome.result[f"validation_{score.name}"])
    sign = 1.0 if score.higher_is_better else -1.0
    order = sorted(values, key=lambda name: -sign * spread_of(values[name].values()).mean)
    images = done[0].result.get("validation_images", 0) if done[0].result else 0
    step = 100 / images if images and score == ACCURACY else 0.0
    signed = {name: {seed: sign * value for seed, value in values[name].items()} for name in order}
    unit = " points" if score.unit == "%" else ""
    verdict = judge(signed, step, unit)
    ordered = {name: sets[name] for name in order}
    noun = str(done[0].result.get("examples", "images")) if done[0].result else "images"
    table = _table(ordered, values, score, noun, best=verdict.best is not None)
    return Probes(ordered, values, score, _answer(verdict, unit), table, failed)


def _answer(verdict: Verdict, unit: str) -> str:
    if verdict.best is None:
        return f"“{verdict.leader}” leads the short trainings. {verdict.why_not}"
    second, ahead = next(iter(verdict.ahead.items()))
    return (
        f"“{verdict.leader}” is best of the short trainings: {ahead.mean:.2f}{unit} ahead of “{second}” over "
        f"{ahead.n} seeds."
    )


def _table(
    sets: Mapping[str, Sequence[str]], values: Mapping[str, Seeds], score: Score, noun: str, *, best: bool
) -> Table:
    rows = []
    for name, links in sets.items():
        spread = spread_of(values[name].values())
        layers = "; ".join(link.partition(" :")[0] for link in links)
        rows.append((name, len(links), spread_cell(spread, score.digits), spread.n, layers))
    unit = f" in {score.unit}" if score.unit else ""
    return Table(
        ("set", "links", f"validation {score.words}{unit}", "seeds", "layers"),
        tuple(rows),
        f"Mean and sd over seeds, of the validation {noun}, by which the epoch was chosen, too. The test part is not "
        "looked at here.",
        0 if best else None,
    )
