"""What is printed of a search that is done."""

from __future__ import annotations

from collections.abc import Sequence

from layerlink.cli.terminal.console import Console
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.search.running import Trial
from layerlink.printable import in_a_shell


def show_trials(console: Console, trials: Sequence[Trial], fields: Sequence[str]) -> None:
    """Print a line a trial, the best first, with the fields that were searched."""
    rows = [
        (
            str(trial.number),
            trial.state,
            "-" if trial.validation is None else trial.score.show(trial.validation),
            *(_shown(trial.fields[field]) for field in fields),
        )
        for trial in trials
    ]
    console.table(("trial", "state", "validation", *fields), rows)


def show_best(console: Console, best: Trial) -> None:
    """Print what the best trial reached, and how it is trained again."""
    run, score = RunFolder(best.folder), best.score
    result = run.read_result()
    console.say(
        f"best       trial {best.number}: validation {score.show(best.validation or 0.0)}, which chose it; test "
        f"{score.show(result[f'test_{score.name}'])} of {result['test_images']:,} "
        f"{result.get('examples', 'images')}"
    )
    console.say(f"again      layerlink run {in_a_shell(run.recipe)} --out ANOTHER    weights: {best.folder}")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
