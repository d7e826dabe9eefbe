#!/usr/bin/env python3
"""Copy what tells of finished runs, without their weights, to where it is kept: a few kilobytes a run; and back.

    python benchmarks/study_keep.py ~/layerlink-runs/study docs/results/study
    python benchmarks/study_keep.py --back docs/results/study/strong ~/layerlink-runs/study/strong  # another machine

A run that is kept already is copied again only where it changed. The command line is left out of the environment. A
teacher that was rounded (study_teacher.py) is kept with its weights; ``--back`` leaves out one that has none, so that
it is trained again.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

KEPT = ("recipe.yaml", "data.json", "metrics.csv", "result.json", "warnings.txt")
ROUNDED = "rounded.safetensors.xz"  # a teacher's weights, see study_teacher.py
OF_ENVIRONMENT = ("layerlink", "commit", "python", "packages", "hardware", "device", "precision")


def main(source: Path, target: Path) -> None:
    for result in sorted(source.glob("*/*/result.json")):
        run, kept = result.parent, target / result.parent.relative_to(source)
        kept.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            if (run / name).exists():
                _write(kept / name, _shared((run / name).read_text()))
        if (run / ROUNDED).exists() and not (kept / ROUNDED).exists():
            part = shutil.copyfile(run / ROUNDED, kept / f"{ROUNDED}.part")
            print(part.replace(kept / ROUNDED))
        environment = json.loads((run / "environment.json").read_text())
        short = {key: environment[key] for key in OF_ENVIRONMENT if key in environment}
        _write(kept / "environment.json", json.dumps(short, indent=2) + "\n")
        plan = run.parent / "sweep.json"
        if plan.exists():
            _write(kept.parent / "sweep.json", _shared(plan.read_text()))


def back(kept: Path, sweep: Path) -> None:
    """A kept sweep as its folder was, but for students' weights; the same command goes on with it."""
    part = sweep.with_name(f"{sweep.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(kept, part)
    if not (part / "teacher" / ROUNDED).exists():
        shutil.rmtree(part / "teacher", ignore_errors=True)
    part.rename(sweep)


def _shared(text: str) -> str:
    """Where things lay on the machine is as they lie beside the project, or in anybody's home."""
    return re.sub(r"/[\w./-]*?/shared/", "../shared/", text).replace(str(Path.home()), "~")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(path)


if __name__ == "__main__":
    if sys.argv[1] == "--back":
        back(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
