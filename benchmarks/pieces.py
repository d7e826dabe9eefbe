"""A folder of data in pieces, for a machine that takes only so much at a time, and whole again there.

    python benchmarks/pieces.py cut ../shared/data/cifar10 runs/pieces/cifar10 --most 55   # here: /1, /2, ...
    python benchmarks/pieces.py join runs/pieces/cifar10 runs/data/cifar10                 # there: after each has come

Pieces come in any order and in calls of their own; those that came before are found where they are. ``join`` ends with
exit code 3, and names what is missing, until all are there. Then the folder is put together beside its place, compared
with the SHA-256 that was taken of every file, and moved there; where it is already, nothing is done.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

MANIFEST = "piece.json"
BLOCK = 1 << 20


def cut(source: Path, pieces: Path, most: float) -> int:
    """Cut the files of ``source`` into folders 1, 2, ... of at most ``most`` MB, all about as large; how many."""
    files = sorted(path for path in source.iterdir() if path.is_file())
    sizes = {path.name: path.stat().st_size for path in files}
    total = sum(sizes.values())
    if not total:
        sys.exit(f"{source} holds no files to cut")
    count = -(-total // int(most * 1e6))
    size = -(-total // count)
    sums = {path.name: _sum_of(path) for path in files}
    unfinished = pieces.with_name(f"{pieces.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    number, room = 0, 0
    for path in files:
        with path.open("rb") as file:
            while file.tell() < sizes[path.name]:
                if not room:
                    number, room = number + 1, size
                    (unfinished / str(number)).mkdir(parents=True)
                    whole = {"piece": number, "of": count, "sizes": sizes, "sha256": sums}
                    (unfinished / str(number) / MANIFEST).write_text(json.dumps(whole))
                length = min(room, sizes[path.name] - file.tell())
                _copy(file, unfinished / str(number) / f"{file.tell():012d}-{path.name}", length)
                room -= length
    shutil.rmtree(pieces, ignore_errors=True)
    unfinished.replace(pieces)
    return number


def join(pieces: Path, target: Path) -> int:
    """Put ``target`` together from the pieces that are there; the exit code."""
    if target.is_dir():
        return 0
    there = [_manifest(path) for path in sorted(pieces.glob(f"*/{MANIFEST}"))]
    if not there:
        print(f"{pieces}: no piece is here yet. Send {pieces}/1 first")
        return 3
    if len({(it["of"], json.dumps(it["sha256"], sort_keys=True)) for it in there}) > 1:
        sys.exit(f"{pieces}: these are pieces of different folders. Cut it again, and send all of them")
    first = there[0]
    missing = sorted(set(range(1, first["of"] + 1)) - {it["piece"] for it in there})
    if missing:
        print(f"{pieces}: {len(there)} of {first['of']} pieces are here. Next: {pieces}/{missing[0]}")
        return 3
    unfinished = target.with_name(f"{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, size in first["sizes"].items():
        with (unfinished / name).open("wb") as whole:
            for part in sorted(pieces.glob(f"*/*-{name}"), key=lambda path: path.name):
                if part.name == f"{whole.tell():012d}-{name}":
                    whole.write(part.read_bytes())
        if (unfinished / name).stat().st_size != size or _sum_of(unfinished / name) != first["sha256"][name]:
            sys.exit(f"{pieces}: {name} is not what was cut. Send its pieces again")
    unfinished.replace(target)
    print(f"{target}: whole, {len(first['sizes'])} files of {first['of']} pieces")
    return 0


def _manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    odd = [name for name in found["sizes"] if Path(name).name != name]
    if odd:
        sys.exit(f"{path}: {odd[0]!r} is no name of a file")
    return found


def _copy(file: Any, target: Path, length: int) -> None:
    with target.open("wb") as part:
        while length:
            block = file.read(min(BLOCK, length))
            part.write(block)
            length -= len(block)


def _sum_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    cutting = verbs.add_parser("cut", help="here, once")
    cutting.add_argument("source", type=Path)
    cutting.add_argument("pieces", type=Path)
    cutting.add_argument("--most", type=float, default=55, help="MB of a piece")
    joining = verbs.add_parser("join", help="there, after each piece")
    joining.add_argument("pieces", type=Path)
    joining.add_argument("target", type=Path)
    given = parser.parse_args(words)
    if given.verb == "join":
        return join(given.pieces, given.target)
    count = cut(given.source, given.pieces, given.most)
    print(f"{given.pieces}: {count} pieces of {given.source}, each to be sent by itself, into the same place there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
