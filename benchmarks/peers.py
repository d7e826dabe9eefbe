"""The same training in torchdistill, in Keras 3 on torch, in a plain loop and in layerlink.

    python benchmarks/peers.py --install PLACE                     # once: an environment with the others
    python benchmarks/peers.py --python PLACE/bin/python --out peers --rounds 3
    python benchmarks/peers.py ... --seconds 100                   # no case is begun after so long: call it again

VGG-16 teaches VGG-7 by labels, soft targets (T = 2) and links 2-5; 32x32, batch 128, random images that lie in memory,
SGD, gradients clipped. Every case begins with the same weights and sees the same batches: after the first step the
losses are compared, and the run ends where they differ. A case is a process of its own, the cases take turns, and each
is written to OUT when it is measured. What users write stands in ``peers_cases``: a case each. The others run as their
pages show, with their defaults; "bfloat16" is torch's autocast around the step, or Keras's mixed precision.

Given are images/s within an epoch, without its first step, and the same by the processor's time of the process, which
other programs of a busy machine disturb less; the peak of resident memory above a process that has only
imported torch; seconds from the start of the process to the end of the first step; and lines of configuration: those
of the YAML file, or of the loop, without blank ones, comments, networks and data. torchdistill's YAML needs a loop
besides, as its examples have it (``torchdistill_box.py``).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import site
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent / "peers_cases"
CASES = {  # file of the case, how, file of its configuration
    "plain loop": ("plain.py", "", "plain.py"),
    "torchdistill": ("torchdistill_box.py", "", "torchdistill.yaml"),
    "layerlink": ("layerlink_run.py", "", "layerlink.yaml"),
    "layerlink, teacher.store=auto": ("layerlink_run.py", "stored", "layerlink.yaml"),
    "plain loop, bfloat16": ("plain.py", "bfloat16", "plain.py"),
    "torchdistill, bfloat16": ("torchdistill_box.py", "bfloat16", "torchdistill.yaml"),
    "layerlink, precision=float32": ("layerlink_run.py", "float32", "layerlink.yaml"),
    "Keras Distiller, bfloat16": ("keras_distiller.py", "bfloat16", "keras_distiller.py"),
    "Keras Distiller": ("keras_distiller.py", "", "keras_distiller.py"),
}
NEAR = {True: 1e-4, False: 0.02}  # in float32 or not: how near a first step's loss is to that of the plain loop
Row = dict[str, object]


def install(place: Path) -> None:
    """An environment with the others, which finds everything else, torch above all, in this one."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    inside = next(place.glob("lib/python*/site-packages"))
    (inside / "base.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    wanted = ["-r", str(HERE / "requirements.txt")]
    subprocess.run([str(place / "bin" / "python"), "-m", "pip", "install", "--no-deps", *wanted], check=True)


def write_inputs(folder: Path) -> None:
    """Weights and images of all cases."""
    sys.path.insert(0, str(HERE))
    import torch
    from common import BATCH, BATCHES
    from layerlink_run import images, recipe
    from safetensors.torch import save_file

    from layerlink.lab.run.setup.setup import set_up
    from layerlink.models import build_model

    draw = torch.Generator().manual_seed(0)
    count = BATCH * BATCHES
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draw)
    torch.save((pixels, torch.randint(0, 10, (count,), generator=draw)), folder / "pixels.pt")
    for name, kind in (("teacher", "vgg16"), ("student", "vgg7")):
        torch.manual_seed(0)
        weights = build_model(kind, num_classes=10, image_size=32, channels=3).state_dict()
        weights["output.weight"] *= 0.1  # logits like those of trained networks, of which no formula clips a softmax
        torch.save({"model": weights}, folder / f"{name}.pt")
        save_file(weights, folder / f"{name}.safetensors")
    setup = set_up(recipe(f"teacher.weights={folder / 'teacher.safetensors'}"), images=images(folder))
    batches = list(setup.batches.epoch(0))
    data = torch.cat([it.images for it in batches]).contiguous(), torch.cat([it.labels for it in batches])
    torch.save(data, folder / "data.pt")


def lines_of(path: Path) -> int:
    """Without blank lines and comments; of Python those between two marks."""
    text = path.read_text()
    if path.suffix == ".py":
        text = text.partition("# lines:\n")[2].partition("# end\n")[0]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


def child(python: str, *words: str) -> str:
    """What it prints last.

    Raises:
        RuntimeError: where it fails.
    """
    paths = [str(Path(__file__).parents[1] / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([python, *words], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "it failed without a word").splitlines()[-1])
    return done.stdout.strip().splitlines()[-1]


def measure(name: str, python: str, folder: Path, idle: float) -> Row:
    """One case, once."""
    file, how, _ = CASES[name]
    start = time.time()
    found = json.loads(child(python, str(HERE / file), str(folder), *filter(None, [how])))
    return {
        "case": name,
        "images_per_second": round(found["images_per_second"], 1),
        "images_per_cpu_second": round(found["images_per_cpu_second"], 1),
        "memory_mb": round(found["peak"] - idle, 1),
        "first_step_s": round(found["first"][0] - start, 2),
        "first_step_cpu_s": round(found["first"][1], 2),
        "losses": [round(loss, 5) for loss in found["losses"]],
    }


def check(rows: list[Row]) -> None:
    """Whether all cases computed the same in their first step."""
    first = {str(row["case"]): row["losses"][0] for row in rows}  # type: ignore[index]
    expected = first.get("plain loop")
    for name, loss in first.items():
        exact = name in ("torchdistill", "Keras Distiller", "layerlink, precision=float32")
        if expected is not None and abs(loss / expected - 1) > NEAR[exact]:
            sys.exit(f"{name}: the first step's loss is {loss}, that of the plain loop {expected}")


def table(rows: list[Row]) -> str:
    """Markdown: median, and minimum to maximum."""

    def shown(name: str, key: str, digits: int) -> str:
        values = [float(str(row[key])) for row in rows if row["case"] == name and key in row] or [float("nan")]
        low, high = min(values), max(values)
        return f"**{statistics.median(values):,.{digits}f}** ({low:,.{digits}f} to {high:,.{digits}f})"

    heads = (
        "images/s",
        "by processor time",
        "peak MB above idle",
        "s to the first step",
        "the same by processor time",
        "lines",
        "first loss",
    )
    lines = [f"| case | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, (_, _, configuration) in CASES.items():
        own = [row for row in rows if row["case"] == name]
        if own:
            store = name.endswith("store=auto")
            cells = [shown(name, "images_per_second", 0), shown(name, "images_per_cpu_second", 0)]
            cells += [shown(name, "memory_mb", 0), shown(name, "first_step_s", 1)]
            cells.append(shown(name, "first_step_cpu_s", 1))
            cells += [str(lines_of(HERE / configuration) + store), f"{own[0]['losses'][0]:.4f}"]  # type: ignore[index]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def versions(python: str) -> str:
    code = "import importlib.metadata as m\nfor n in ('torch', 'torchdistill', 'torchvision', 'keras'):\n"
    code += "    try: print(n, m.version(n), end=', ')\n    except m.PackageNotFoundError: print('no', n, end=', ')"
    import torch

    from layerlink.lab.run.setup.machine import processor_name

    said = child(python, "-c", code).rstrip(", ")
    return f"layerlink {importlib.metadata.version('layerlink')}, {said}; {processor_name(torch.device('cpu'))}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", type=Path, metavar="PLACE", help="make an environment there, and end")
    parser.add_argument("--python", default=os.environ.get("PYTHON_PEERS", sys.executable), help="or $PYTHON_PEERS")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of rows.jsonl and table.md")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no case after so long")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    asked = parser.parse_args()
    if asked.install:
        install(asked.install)
        return 0
    begun = time.monotonic()
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / "rows.jsonl"
    rows: list[Row] = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    skipped: dict[str, str] = {}
    complete = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_inputs(folder)
        idle = "import torch; torch.randn(8, 8) @ torch.randn(8, 8); import common; print(common.peak())"
        idle_mb = float(child(asked.python, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); {idle}"))
        for turn in range(asked.rounds):
            for name in asked.cases:
                if name in skipped or sum(row["case"] == name for row in rows) > turn:
                    continue
                if time.monotonic() - begun > asked.seconds:
                    complete = False
                    continue
                try:
                    rows.append(measure(name, asked.python, folder, idle_mb))
                except RuntimeError as error:
                    skipped[name] = str(error)
                    continue
                check(rows)
                with kept.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    said = [versions(asked.python), "", table(rows), ""]
    said += [f"left out: {name}: {why} (see --install)" for name, why in skipped.items()]
    (asked.out / "table.md").write_text("\n".join(said) + "\n")
    print("\n".join(said))
    return 0 if complete else 3


if __name__ == "__main__":
    sys.exit(main())
