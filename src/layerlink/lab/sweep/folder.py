"""A sweep's folder: the runs, and a manifest that says what they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import read_text
from layerlink.files.whole import write_text
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.holding import alone_in
from layerlink.lab.sweep.file import Plan

MANIFEST = "sweep.json"


def check_no_run(folder: Path) -> None:
    """Raise ``UsageError`` where the folder is itself a run's: runs inside of a run belong to nobody."""
    run = RunFolder(folder)
    if run.recipe.exists() and run.data.exists():  # a recipe alone may be the user's own
        raise UsageError(f"{folder} holds {run.state()} already; nothing was written. Choose another: --out FOLDER")


@dataclass(frozen=True)
class SweepFolder:
    """Reads and writes the manifest.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def manifest(self) -> Path:
        """Rows, their changes and their runs, JSON."""
        return self.path / MANIFEST

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out meanwhile.

        Raises:
            UsageError: where it is a run's, or another process holds it.
        """
        check_no_run(self.path)
        with alone_in(self.path):
            yield

    def describe(self, plan: Plan, command: str) -> None:
        """Write the manifest. Rows and seeds of an earlier start that are not in the plan stay in it."""
        sweep = plan.sweep
        published = sweep.published.test_accuracy if sweep.published else {}
        rows: dict[str, dict[str, Any]] = {}
        for run in plan.runs:
            row = rows.setdefault(
                run.row.name,
                {
                    "name": run.row.name,
                    "changes": dict(run.row.changes),
                    "baseline": run.row.baseline,
                    "published": published.get(run.row.name),
                    "runs": {},
                },
            )
            row["runs"][str(run.seed)] = run.folder.name
        for old in self.read().get("rows", []) if self.manifest.exists() else []:
            row = rows.setdefault(old["name"], old)
            row["runs"] = {**old["runs"], **row["runs"]}
        manifest = {
            "name": plan.family.name,
            "title": sweep.title,
            "question": sweep.question,
            "source": sweep.published.source if sweep.published else "",
            "command": command,
            "axes": sweep.axes,
            "seeds": sorted({int(seed) for row in rows.values() for seed in row["runs"]}),
            "rows": list(rows.values()),
            "teacher": plan.family.teacher_folder.name if plan.family.teacher else None,
        }
        write_text(self.manifest, json.dumps(manifest, indent=2) + "\n")

    def read(self) -> dict[str, Any]:
        """The manifest.

        Raises:
            LayerlinkError: where it is missing or damaged.
        """
        try:
            manifest: dict[str, Any] = json.loads(read_text(self.manifest, self.path))
            for row in manifest["rows"]:
                if not isinstance(row["name"], str) or not all(seed.isdecimal() for seed in row["runs"]):
                    raise ValueError("a row has no name, or a run no seed")
                row["runs"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LayerlinkError(
                f"{self.manifest} is missing or damaged ({error}). Delete it: the sweep writes it again, and its "
                "runs stay"
            ) from error
        return manifest


def run_state(run: RunFolder) -> str:
    """How far a run of a sweep is, in a word or two."""
    if run.result.exists():
        return "finished"
    if run.failure.exists():
        return "failed"
    return "begun" if run.recipe.exists() else "new"
