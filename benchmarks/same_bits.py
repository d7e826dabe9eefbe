"""Do two checkouts train the same students, bit by bit? For changes that are meant to move code, not numbers.

    python benchmarks/same_bits.py BEFORE AFTER
    python benchmarks/same_bits.py BEFORE AFTER --only links resumed

BEFORE and AFTER are folders that hold ``src/layerlink``. Small recipes on scikit-learn's digits are trained with the
code of each, in float32 on the CPU with one thread, and what the run folders hold is compared. Then AFTER goes on
with, reads and sums up what BEFORE wrote. Only the command line, YAML files and run folders are used, so the code may
be laid out in any way. The teacher of all is the one that BEFORE trained, so a case tells of itself alone.

A line a case: "same"; what differs, as BEFORE | AFTER; "failed"; or "refused" with the sentence, which is no difference
where AFTER will not go on with a run of BEFORE. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML
from same_bits_runs import STORES, Checkout, Failed, Refused, checkout

KEPT = ("student.safetensors", "metrics.csv", "result.json", "recipe.yaml", "data.json", "warnings.txt")
TIMES = ("images_per_second", "seconds", "train_seconds")
SHOWN = 3  # differences of a case
RUNS_OF_SWEEP = 9

Facts = dict[str, str]
Given = TypeVar("Given")


def both(before: Checkout, after: Checkout, do: Callable[[Checkout], Given]) -> tuple[Given, Given]:
    """The same with both, at the same time."""
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(do, (before, after))
    return one, other


def facts(folder: Path, leave_out: str = "") -> Facts:
    """What is compared of a run: by file and place, a text. Lines that begin with ``leave_out`` are none."""
    found: Facts = {}
    for name in KEPT:
        path = folder / name
        if not path.exists():
            continue
        if path.suffix == ".csv":
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            found.update({f"{name} row {at} {key}": it for at, row in enumerate(rows, 1) for key, it in row.items()})
        elif name == "result.json":
            found.update({f"{name} {key}": json.dumps(value) for key, value in json.loads(path.read_text()).items()})
        elif path.suffix == ".safetensors":
            found[name] = digest(path)
        elif name == "recipe.yaml":
            found.update({f"{name} {key}": value for key, value in fields(path.read_text()).items()})
        else:
            lines = [line for line in path.read_text().splitlines() if not (leave_out and line.startswith(leave_out))]
            found.update({f"{name} line {number}": line for number, line in enumerate(lines, 1)})
    return {key: value for key, value in found.items() if key.split(" ")[-1] not in TIMES}


def fields(text: str) -> Facts:
    """A recipe's fields by dotted name; a section that is written as its one number is that section."""
    found: Facts = {}

    def walk(value: object, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(item, f"{name}.{key}".lstrip("."))
        else:
            found["hard.weight" if name == "hard" else name] = json.dumps(value)

    walk(YAML(typ="safe", pure=True).load(text), "")
    return found


def lines_of(path: Path) -> Facts:
    return {f"{path.name} line {number}": line for number, line in enumerate(path.read_text().splitlines(), 1)}


def digest(path: Path) -> str:
    return "sha256 " + hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def digests(folder: Path) -> Facts:
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*.*")) if path.is_file()}


def differences(first: Facts, second: Facts, where: str = "") -> list[str]:
    """Every fact that is not the same, and what it is on both sides."""
    if not first:
        return [f"{where}nothing to compare"]
    # What AFTER alone says of a recipe or a result is new, and no difference.
    more = [key for key in second if not key.startswith(("recipe.yaml ", "result.json "))]
    there = dict.fromkeys([*first, *more])
    pairs = [(key, first.get(key, "not there"), second.get(key, "not there")) for key in there]
    return [f"{where}{key}: {one[:60]} | {other[:60]}" for key, one, other in pairs if one != other]


def single(name: str, before: Checkout, after: Checkout, *, processes: int = 1) -> list[str]:
    """One run with each."""
    one, other = both(before, after, lambda it: it.trained(name, processes=processes))
    return differences(facts(one), facts(other))


def cohort(before: Checkout, after: Checkout) -> list[str]:
    """A sweep: its teacher is trained, then four rows of two seeds, of which some share their teacher's pass."""
    one, other = both(before, after, Checkout.swept)
    runs = sorted({path.parent.name for folder in (one, other) for path in folder.glob("*/result.json")})
    found = [text for run in runs for text in differences(facts(one / run), facts(other / run), f"{run}: ")]
    found += differences(lines_of(one / "sweep.json"), lines_of(other / "sweep.json"))
    return found if len(runs) == RUNS_OF_SWEEP else [*found, f"{len(runs)} runs of {RUNS_OF_SWEEP} are finished"]


def stored(name: str, before: Checkout, after: Checkout) -> list[str]:
    """A run that fills a store and one that reads it; the store's own files are compared as well."""
    found = single(name, before, after)
    one, other = both(before, after, lambda it: it.trained(f"{name}-read", name))
    found += differences(facts(one), facts(other), "read again: ")
    first, second = (digests(side.folder / name) for side in (before, after))
    return found + differences(first, second, "store: ")


def resumed(before: Checkout, after: Checkout) -> list[str]:
    """Stopped within an epoch and gone on with: both end with what the undisturbed run of BEFORE ended with."""
    one, other = both(before, after, lambda it: facts(it.resumed(it.stopped(), "resumed")))
    straight = facts(before.trained("own"))
    return differences(straight, one, "before, resumed: ") + differences(straight, other, "after, resumed: ")


def across_resumed(before: Checkout, after: Checkout) -> list[str]:
    """Stopped with BEFORE, gone on with by AFTER, which may warn of the other commit."""
    stopped, straight = before.stopped(), facts(before.trained("own"))
    run = after.resumed(stopped, "across")
    return differences(straight, facts(run, leave_out="goes on under other circumstances"))


def across_report(before: Checkout, after: Checkout) -> list[str]:
    """Both sum up the runs of BEFORE."""
    runs = [before.swept(), before.trained("links"), before.trained("careful")]

    def table(checkout: Checkout) -> Facts:
        out = checkout.folder / "report"
        folders = [str(run.relative_to(before.folder)) for run in runs]
        checkout.layerlink("report", "--no-measure", *folders, "--out", str(out), cwd=before.folder)
        return lines_of(out / "tables" / "results.csv")

    return differences(*both(before, after, table))


def across_reading(verb: str, before: Checkout, after: Checkout) -> list[str]:
    """Both read a run of BEFORE again, and print the same numbers in the same order."""
    run = before.trained("links").relative_to(before.folder)

    def numbers(checkout: Checkout) -> Facts:
        said = checkout.layerlink(verb, str(run), cwd=before.folder)
        return {f"number {place}": number for place, number in enumerate(re.findall(r"\d[\d.,e+-]*", said), 1)}

    return differences(*both(before, after, numbers))


CASES: dict[str, Callable[[Checkout, Checkout], list[str]]] = {
    **{name: partial(single, name) for name in ("alone", "links", "scales", "careful", "own")},
    "two": partial(single, "two", processes=2),
    "cohort": cohort,
    **{f"stored-{name}": partial(stored, f"stored-{name}") for name in STORES},
    "resumed": resumed,
    "across-resumed": across_resumed,
    "across-report": across_report,
    **{f"across-{verb}": partial(across_reading, verb) for verb in ("evaluate", "verify")},
}


def verdict(name: str, before: Checkout, after: Checkout) -> tuple[bool, str]:
    """Whether the case holds, and what to print of it."""
    try:
        found = CASES[name](before, after)
    except Refused as error:
        return name == "across-resumed" and str(error).startswith(after.name), f"refused   {error}"
    except (Failed, OSError, ValueError) as error:
        return False, f"failed   {error}"
    more = f"   and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return not found, f"differs   {'   '.join(found[:SHOWN])}{more}" if found else "same"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    arguments = parser.parse_args()
    os.nice(10)
    good = True
    with tempfile.TemporaryDirectory(prefix="same-bits-") as temporary:
        place = Path(temporary)
        before = checkout("before", arguments.before, place)
        after = checkout("after", arguments.after, place)
        try:
            for side in (before, after):
                shutil.copytree(before.trained("alone"), side.run("teacher"))
        except (Refused, Failed) as error:
            raise SystemExit(f"there is no teacher: {error}") from None
        for name in arguments.only:
            start = time.monotonic()
            holds, text = verdict(name, before, after)
            good = good and holds
            print(f"{name:16} {time.monotonic() - start:5.1f} s   {text}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
