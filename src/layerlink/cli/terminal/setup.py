"""What is printed of a run before it begins: what will happen, and what it costs."""

from __future__ import annotations

from pathlib import Path

from layerlink.cli.terminal.console import Console
from layerlink.config.image_size import shown
from layerlink.data import SequenceViews, TextSet, TextViews
from layerlink.files.paths import expanded
from layerlink.lab.bench.costs import Costs
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.teacher_reading import read_teacher
from layerlink.lab.run.setup.machine import tf32
from layerlink.lab.run.setup.setup import Setup
from layerlink.losses.catalogue import published_weight
from layerlink.measure.flops import count_parameters
from layerlink.tasks import Classification, Score
from layerlink.teachers import EMATeacher
from layerlink.transfer import Link, LinkReport


def show_setup(console: Console, setup: Setup, run: RunFolder) -> None:
    """Print what is about to happen."""
    recipe, images = setup.recipe, setup.images
    console.say(f"recipe     {setup.loaded.source}   seed {recipe.seed}   {run.path}")
    console.say(
        f"data       {recipe.data.name}: {len(images.train):,} train / {len(images.validation):,} validation / "
        f"{len(images.test):,} test, {_seen(setup)}"
    )
    for note in (*images.notes, *setup.notes):
        console.say(f"           {note}")
    if recipe.task.name != Classification.name:
        console.say(f"task       {recipe.task.name}, by {setup.task.score.words}")
    _show_teachers(console, setup)
    smaller = ""
    if len(setup.teachers) == 1 and count_parameters(*setup.teachers.values()):
        ratio = count_parameters(*setup.teachers.values()) / count_parameters(setup.distiller.student)
        smaller = f"   {ratio:.1f}x fewer than the teacher" if ratio >= 1 else f"   {1 / ratio:.1f}x the teacher's"
    console.say(
        f"student    {recipe.student.model}   {count_parameters(setup.distiller.student):,} parameters{smaller}"
    )
    for name, peer in setup.peers.items():
        count = count_parameters(peer.distiller.student)
        console.say(f"peer       {name}: {peer.recipe.student.model}   {count:,} parameters")
    own = f" ({recipe.hard.loss})" if recipe.hard.loss else ""
    console.say(f"losses     hard{own} * {recipe.hard.weight:g}{_soft(setup)}")
    for name, each in {"": setup, **setup.peers}.items():
        for report in each.links:
            console.say(
                f"link       {f'of {name}: ' if name else ''}{report.text}   {_shapes(report)}{_published(report)}"
            )
    together = f"   {here().size} processes, each with its part of every batch" if here().size > 1 else ""
    console.say(f"machine    {setup.device}, {_precision(setup)}{together}")


def _show_teachers(console: Console, setup: Setup) -> None:
    """Print who teaches, and how good that is."""
    recipe, images = setup.recipe, setup.images
    for name, model in setup.teachers.items():
        section = recipe.every_teacher.get(name)
        if section is not None:
            console.say(
                f"teacher    {name + ': ' if name else ''}{section.model}   {count_parameters(model):,} parameters   "
                f"{section.weights or 'given'}{_teacher_score(section.loaded_from)}"
            )
    reading = read_teacher(setup)
    if reading is not None:
        score, what = setup.task.score, images.validation.noun
        console.say(f"           reads {score.words} {score.show(reading.value)} of {reading.images} validation {what}")
    if isinstance(setup.taught_by, EMATeacher):
        console.say(f"teacher    the student's own average, decay {setup.taught_by.decay:g}")


def show_costs(console: Console, costs: Costs, setup: Setup) -> None:
    """Print what it would cost."""
    console.say("")
    rows = [("student", f"{costs.student_parameters:,}", f"{costs.student_flops / 1e9:.3f}")]
    if costs.teacher_parameters is not None and costs.teacher_flops is not None:
        rows.insert(0, ("teacher", f"{costs.teacher_parameters:,}", f"{costs.teacher_flops / 1e9:.3f}"))
    if costs.peers_parameters:
        rows.append(("peers", f"{costs.peers_parameters:,}", ""))
    console.table(("model", "parameters", f"GFLOP per {setup.images.train.noun.removesuffix('s')}"), rows)
    batch = setup.recipe.training.batch_size
    for text, adapter_seconds in costs.adapter_seconds.items():
        console.say(f"adapter    {1000 * adapter_seconds:.2f} ms a step   {text}")
    seconds = costs.seconds_per_step * costs.steps
    console.say(f"memory     about {costs.memory_bytes / 1e9:.2f} GB for weights, optimiser and a batch of {batch}")
    console.say(
        f"time       about {duration(seconds)} for {costs.steps:,} steps of {costs.seconds_per_step:.3f} s "
        "(one step measured, nothing trained; validation not counted)"
    )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _teacher_score(weights: Path | None) -> str:
    """What the teacher's run says of it, where the weights are a run's."""
    run = RunFolder(expanded(weights)) if weights else None
    if run is None or not run.result.exists():
        return ""
    result = run.read_result()
    score = Score.of(result.get("score"))
    value = score.show(result[f"validation_{score.name}"], 1 if score.unit == "%" else None)
    return f"   {value} validation (read from its run)"


def _seen(setup: Setup) -> str:
    """What models get of the examples, and what is known of these."""
    views, data = setup.images.views, setup.recipe.data
    if isinstance(views, TextViews):
        train = setup.images.train
        if isinstance(views, SequenceViews) and views.packing:
            return f"each of {views.max_length} tokens of {views.tokenizer}"
        mean = float(train.lengths.double().mean()) if isinstance(train, TextSet) else 0.0
        labels = _labels(setup) if train.classes else ""
        return f"{labels}up to {views.max_length} tokens of {views.tokenizer}, {mean:.0f} of them on average"
    more = f", {data.described}" if data.described else ""
    return f"{shown(views.image_size)}, {_labels(setup)}normalize {data.normalize}, augment {data.augment}{more}"


def _labels(setup: Setup) -> str:
    """What is known of the examples."""
    train = setup.images.train
    what = "classes" if setup.task.has_classes else "numbers"
    count = setup.recipe.data.labelled
    few = "" if count is None else f"{count:,} of the training {train.noun} labelled, "
    return f"{len(train.classes)} {what}, {few}"


def _soft(setup: Setup) -> str:
    soft = setup.recipe.soft
    if soft is None:
        return ""
    squared = "with" if soft.t_squared else "without"
    top = "" if soft.topk is None else f" of the {soft.topk:,} likeliest and all others"
    return f" + soft ({soft.form}{top}, T = {soft.temperature:g}, {squared} T^2) * {soft.weight:g}"


def _shapes(report: LinkReport) -> str:
    """What a link compares, and what it trains for that."""
    student, teacher = (
        f"({', '.join(['N', *map(str, (shape or ())[1:])])})" for shape in (report.student_shape, report.teacher_shape)
    )
    said = student if student == teacher else f"{student} of the student, {teacher} of the teacher"
    if report.adapter:
        said += f"; adapter: {report.adapter}"
    return f"{said}; {report.parameters:,} parameters of its own" if report.parameters else said


def _published(report: LinkReport) -> str:
    """The weight that the link's loss was published with, where it is another one."""
    link = Link.parse(report.text)
    published = published_weight(str(link.loss))
    return "" if published in (None, link.weight) else f"; published weight {published:g}"


def _precision(setup: Setup) -> str:
    narrow = tf32(setup.device) if setup.precision == "float32" else ()
    if narrow:
        return f"float32, {' and '.join(narrow)} in TF32 (NVIDIA_TF32_OVERRIDE=0 to change)"
    if setup.recipe.precision == "auto" and setup.device.type == "cuda" and setup.precision == "float32":
        return "float32 (this GPU has no native bfloat16; precision=float16 is faster there)"
    if setup.recipe.precision == "auto":
        other = "float32" if setup.precision == "bfloat16" else "bfloat16"
        reason = "multiplies it natively" if setup.precision == "bfloat16" else "has no native bfloat16"
        return f"{setup.precision} (this machine {reason}; precision={other} to change)"
    return setup.precision
