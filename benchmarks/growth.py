"""How the cost of a step grows, and how near every layer of the teacher comes to what the machine can do.

    python benchmarks/growth.py --out docs/performance

Writes tables (CSV) and figures (SVG): milliseconds a step against batch, image size, links and students; the teacher's
pass by the deepest layer that is asked for; a roofline (Williams, Waterman & Patterson 2009) of its layers.
Random images and weights, arithmetic as `precision: auto` chooses; medians and quartiles of at least 7 repetitions.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import altair as alt
import torch
from torch import Tensor, nn
from training_speed import CPU, LINKS, fast_teacher, ours, random_images, recipe

from layerlink.cli.process.memory import keep_freed_memory
from layerlink.lab.bench.speed import matrix_rate
from layerlink.lab.report.page.text_width import with_fixed_widths
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.machine import choose_precision
from layerlink.lab.run.setup.setup import set_up
from layerlink.measure.timing import Timing, measure
from layerlink.taps import OUTPUT, Tap
from layerlink.teachers import FrozenTeacher

Row = dict[str, Any]


def step_time(size: int = 32, batch: int = 128, links: tuple[str, ...] = LINKS, students: int = 1) -> Timing:
    texts = ", ".join(f'"{name} : mse * 10"' for name in links)
    recipes = [recipe(size, batch, 1 + number, f"links=[{texts}]") for number in range(students)]
    first = set_up(recipes[0], teacher=fast_teacher(size, CPU), images=random_images(2 * batch, size, CPU))
    return measure(ours(set_up_cohort(recipes, first)), CPU)


def row(axis: str, value: Any, timing: Timing, images: int) -> Row:
    return {
        "axis": axis,
        "value": value,
        "milliseconds": timing.median,
        "low": timing.low,
        "high": timing.high,
        "images_per_second": 1000 * images / timing.median,
    }


def growth() -> Iterator[Row]:
    for batch in (8, 16, 32, 64, 128, 256):
        yield row("batch", batch, step_time(batch=batch), batch)
    for size in (32, 64, 96, 128):
        yield row("image size (batch 16)", size, step_time(size=size, batch=16), 16)
    names = (*(f"group{number}" for number in range(1, 6)), "hidden")
    for count in range(len(names) + 1):
        yield row("links", count, step_time(links=names[6 - count :]), 128)
    for students in (1, 2, 4, 8, 16):
        yield row("students", students, step_time(students=students), 128 * students)


def depths() -> Iterator[Row]:
    images = torch.randn(128, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    names: tuple[str | None, ...] = (*(f"group{number}" for number in range(1, 6)), "hidden", None)
    for name in names:
        teacher, wanted = FrozenTeacher(fast_teacher(32, CPU).eval()), Tap(name) if name else OUTPUT

        def work(teacher: FrozenTeacher = teacher, wanted: Tap = wanted) -> None:
            with autocast():
                teacher(images, [wanted])

        yield row("deepest layer", name or "logits", measure(work, CPU), 128)


def autocast() -> Any:
    return torch.autocast("cpu", torch.bfloat16, enabled=choose_precision("auto", CPU) == "bfloat16")


def bandwidth() -> float:
    """Bytes a second, read and written, of a copy that fits into no cache."""
    source = torch.zeros(1 << 28, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / (measure(lambda: target.copy_(source), CPU).low / 1000)


def layers() -> Iterator[Row]:
    """Every convolution and linear layer of the teacher, on its input of a batch of 128."""
    teacher = fast_teacher(32, CPU).eval()
    inputs: dict[str, Tensor] = {}
    for name, module in teacher.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda _module, given, name=name: inputs.__setitem__(name, given[0]))
    with torch.no_grad(), autocast():
        teacher(torch.randn(128, 3, 32, 32).contiguous(memory_format=torch.channels_last))
        for name, given in inputs.items():
            module = teacher.get_submodule(name)
            module._forward_pre_hooks.clear()
            output = module(given)
            multiplications = output.numel() * module.weight[0].numel()
            bytes_moved = given.nbytes + output.nbytes + module.weight.nbytes
            timing = measure(lambda module=module, given=given: module(given), CPU)
            yield {
                "layer": name,
                "flops_a_byte": 2 * multiplications / bytes_moved,
                "gflops": 2 * multiplications / timing.median / 1e6,
                "milliseconds": timing.median,
            }


def write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(
            {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
        )


def growth_figure(rows: list[Row]) -> alt.HConcatChart:
    charts = []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        own = [row for row in rows if row["axis"] == axis]
        kind = "O" if isinstance(own[0]["value"], str) else "Q"
        base = alt.Chart(alt.Data(values=own)).encode(
            x=alt.X(
                f"value:{kind}", title=axis, sort=None, scale=alt.Scale(zero=True) if kind == "Q" else alt.Undefined
            ),
            y=alt.Y("milliseconds:Q", title="ms a step" if axis != "deepest layer" else "ms a pass of the teacher"),
        )
        charts.append((base.mark_line() + base.mark_point(filled=True)).properties(width=170, height=170))
    return alt.hconcat(*charts)


def roofline(rows: list[Row], rate: float, bytes_a_second: float) -> alt.LayerChart:
    axis = alt.Axis(labelOverlap=True)
    x = alt.X("flops_a_byte:Q", title="FLOPs a byte moved", scale=alt.Scale(type="log", domain=[4, 3000]), axis=axis)
    y = alt.Y("gflops:Q", title="GFLOP/s", scale=alt.Scale(type="log", domain=[50, 3000]))
    roof = [
        {"flops_a_byte": place, "gflops": min(rate, place * bytes_a_second) / 1e9}
        for place in (4, rate / bytes_a_second, 3000)
    ]
    parts = [row | {"part": row["layer"].partition(".")[0]} for row in rows]
    line = alt.Chart(alt.Data(values=roof)).mark_line(color="gray").encode(x=x, y=y)
    points = alt.Chart(alt.Data(values=parts)).mark_point(filled=True, size=70, opacity=0.9)
    look = {"color": alt.Color("part:N", title=None), "shape": alt.Shape("part:N", title=None)}
    return (line + points.encode(x=x, y=y, **look)).properties(width=460, height=280)


def draw(chart: alt.TopLevelMixin, path: Path) -> None:
    """As SVG whose texts take the same room in every font."""
    chart.save(path)
    path.write_text(with_fixed_widths(path.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/performance"))
    arguments = parser.parse_args()
    out: Path = arguments.out
    keep_freed_memory()
    work: dict[str, Callable[[], Iterator[Row]]] = {"growth": growth, "depth": depths, "layers": layers}
    found = {name: list(make()) for name, make in work.items()}
    for name, rows in found.items():
        write(out / f"{name}.csv", rows)
    draw(growth_figure(found["growth"]), out / "growth.svg")
    draw(growth_figure(found["depth"]), out / "depth.svg")
    rate, speed = matrix_rate(CPU, choose_precision("auto", CPU)), bandwidth()
    draw(roofline(found["layers"], rate, speed), out / "roofline.svg")
    print(f"matrix rate {rate / 1e9:,.0f} GFLOP/s, memory {speed / 1e9:,.1f} GB/s, {torch.get_num_threads()} threads")
    first, last = found["depth"][1]["milliseconds"], found["depth"][-1]["milliseconds"]
    print(f"teacher: links 1-2 only {first:.1f} ms, whole {last:.1f} ms: {last / first:.2f} times less")
    for name in found:
        print((out / f"{name}.csv").read_text("utf-8"))


if __name__ == "__main__":
    main()
