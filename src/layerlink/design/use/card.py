"""A model card of a run, as Hugging Face's hub reads it: what taught it, on what, how good, at which cost."""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from layerlink.config.image_size import read_size, shown
from layerlink.design.use.carried import without_folder
from layerlink.design.use.costs import Costs, costs_of
from layerlink.design.use.licences import LICENCES, identifier
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import read_text
from layerlink.files.whole import write_text
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TEXT
from layerlink.lab.report.gather.records import RunRecord, read_record
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import recipe_of_run
from layerlink.lab.sweep.folder import MANIFEST
from layerlink.printable import one_line

CARD = "README.md"
# Of one's own: the hub's format has `license` for the model, and for data only in the card of a data set.
DATA_LICENCE = "data_license"

_PLACE = re.compile(r"(?<![\w.])[~/][^\s'\"]*/")  # of this machine, which says nothing elsewhere
_UNKNOWN = "not known to layerlink, which read it as your own: say it (data.licence, or here) before you publish"
_PIPELINES = {
    "classification": "image-classification",
    "multi-label": "image-classification",
    "segmentation": "image-segmentation",
}
_OF_TEXTS = {**dict.fromkeys(("classification", "multi-label"), "text-classification"), "causal-lm": "text-generation"}
_LEARNT = "What a teacher gets wrong its student learns."
_SHOWN = {
    "images": "print(model.told(images))  # images (N, C, H, W) uint8, of any size",
    "texts": 'print(model.told(["..."]))  # a list of texts, or of pairs where it was trained on pairs',
    "sequences": 'tokens = model.preprocessing.loaded.own("...", return_tensors="pt")\n'
    "print(model.model.generate(**tokens, max_new_tokens=20))",
}


def card(run: RunFolder) -> str:
    """The card of a finished run, as Markdown under a head of YAML.

    Where the run is of a sweep, its numbers stand beside those of the same row's other seeds.

    Raises:
        UsageError: where the run is not finished.
        LayerlinkError: where a file of it is damaged.
    """
    run.read_result()
    record, recipe = read_record(run.path), recipe_of_run(run).recipe
    if record.state != "finished":
        raise LayerlinkError(f"{run.path} is {record.state}: {record.reason}")
    seeds = _row_of(run)
    data = run.read_data()
    parts = [
        f"# {one_line(run.path.resolve().name)}",
        _what_it_is(record, recipe),
        _size(costs_of(run)),
        "## How good",
        _how_good(record, seeds),
        "## What taught it",
        "\n".join(f"- {line}" for line in _taught_by(recipe)),
        "## Data",
        "\n".join(f"- {line}" for line in _data(record, data, recipe)),
        "## How to use it",
        f'```python\nimport layerlink as ll\n\nmodel = ll.load("FOLDER")  # this folder\n{_SHOWN[record.noun]}\n```',
        "## Intended use, and what it is not for",
        _limits(record, data),
        "## How it was made",
        "\n".join(f"- {line}" for line in _made(record)),
    ]
    return _head(record, recipe, run) + "\n\n".join(parts) + "\n"


def card_of(run: RunFolder) -> str:
    """The card that a run's folder holds, with what its owner wrote into it; a new one where there is none."""
    made = card(run)
    return read_text(run.path / CARD, run.path) if (run.path / CARD).exists() else made


def write_card(run: RunFolder) -> Path:
    """Write a run's card into its folder.

    Raises:
        UsageError: where a card is there that says something else.
    """
    path, text = run.path / CARD, card(run)
    if path.exists() and read_text(path, run.path) != text:
        raise UsageError(
            f"{path} is there already and says something else; nothing was written. Move it away, or name another "
            "file with --out"
        )
    write_text(path, text)
    return path


def _head(record: RunRecord, recipe: Recipe, run: RunFolder) -> str:
    score, name = record.score, one_line(run.path.resolve().name)
    data = recipe.data.name if recipe.data.name in LICENCES else None  # all others are ways to read the user's own
    metric = {"type": score.name, "value": record.number(f"test_{score.name}")}
    task = (_PIPELINES if record.noun == "images" else _OF_TEXTS).get(recipe.task.name)
    head: dict[str, Any] = {"library_name": "layerlink", "tags": ["knowledge-distillation", "pytorch"]}
    if task is not None:
        head["pipeline_tag"] = task
    if data is not None:
        head["datasets"] = [data]
    licence = identifier(recipe.data.licence, recipe.data.name)
    if licence is not None:
        head[DATA_LICENCE] = licence
    head["metrics"] = [score.name]
    told = {"name": data or "own data", "type": data or "own", "split": "test"}
    head["model-index"] = [
        {"name": name, "results": [{"task": {"type": task or recipe.task.name}, "dataset": told, "metrics": [metric]}]}
    ]
    text, yaml = io.StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(head, text)
    return f"---\n{text.getvalue()}---\n\n"


def _row_of(run: RunFolder) -> Sequence[RunRecord]:
    """The finished runs of the sweep's row that the run is of; itself alone where it is of none."""
    if (run.path.parent / MANIFEST).exists():
        for row in gather([run.path.parent]).rows:
            if any(other.folder.resolve() == run.path.resolve() for other in row.runs):
                return row.finished
    return [read_record(run.path)]


def _what_it_is(record: RunRecord, recipe: Recipe) -> str:
    parameters = record.number("parameters")
    count = f" of {parameters:,.0f} parameters" if parameters else ""
    teachers = [section.model for section in recipe.every_teacher.values()]
    taught = f", taught by {' and '.join(map(_named, teachers))}" if teachers else ", trained on labels alone"
    version = one_line(str(record.environment.get("layerlink", "")))
    return f"`{_named(recipe.student.model)}`{count}{taught}. Made with layerlink {version}."


def _named(model: str) -> str:
    return one_line(without_folder(model))


def _size(costs: Costs) -> str:
    """Parameters and FLOPs of student and teachers, as a table, and what was not counted."""
    known = [it for it in costs.each if it.flops is not None]
    lines = ["| | model | parameters | MFLOP |", "|---|---|---:|---:|"] if known else []
    for it in known:
        lines.append(
            f"| {one_line(it.role)} | `{_named(it.model)}` | {it.parameters:,} | {(it.flops or 0) / 1e6:,.4g} |"
        )
    notes = [f"MFLOP: of {costs.example}, forward; a multiplication and an addition are two."] if known else []
    notes += [
        f"FLOPs of the {one_line(it.role)} `{_named(it.model)}` were not counted: {one_line(it.why_not)}."
        for it in costs.each
        if it.flops is None
    ]
    return "\n".join(lines) + ("\n\n" if lines else "") + " ".join(notes)


def _how_good(record: RunRecord, seeds: Sequence[RunRecord]) -> str:
    noun, score = record.noun, record.score
    columns = ["", "this model", f"mean ± sd over {len(seeds)} seeds"] if len(seeds) > 1 else ["", "this model"]
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    for name, words in _numbers(record, score.name, score.words):
        value = record.number(name)
        if value is None:
            continue
        cells = [words, f"{value:,.4g}"]
        if len(seeds) > 1:
            values = [number for number in (run.number(name) for run in seeds) if number is not None]
            cells.append(f"{statistics.mean(values):,.4g} ± {statistics.stdev(values):.2g}" if len(values) > 1 else "")
        lines.append(f"| {' | '.join(cells)} |")
    count = record.number("test_images")
    note = f"{count:,.0f} test {noun}, read once. " if count else ""
    alone = "One seed: a difference of a point or two to another model may be luck." if len(seeds) < 2 else ""
    return "\n".join(lines) + f"\n\n{note}The epoch was chosen on validation {noun}. {alone}".rstrip()


def _numbers(record: RunRecord, score: str, words: str) -> Iterator[tuple[str, str]]:
    unit = f", {record.score.unit}" if record.score.unit else ""
    yield f"test_{score}", f"test {words}{unit}"
    yield f"teacher_test_{score}", f"the teacher's{unit}"
    yield "agreement", "answers like the teacher, %"
    yield "test_nll", "negative log-likelihood, nats"
    yield "test_ece", "calibration error (ECE), %"


def _taught_by(recipe: Recipe) -> Iterator[str]:
    if recipe.hard.weight:
        yield f"labels, weight {recipe.hard.weight:g}"
    if recipe.soft is not None:
        soft = recipe.soft
        yield f"the teacher's outputs at temperature {soft.temperature:g}, weight {soft.weight:g}"
    for link in recipe.links:
        yield f"`{one_line(link)}`"
    for name, section in recipe.every_teacher.items():
        weights = f", weights `{one_line(Path(section.weights).name)}`" if section.weights else ""
        yield f"teacher{f' {name}' if name else ''}: `{_named(section.model)}`{weights}"
    training = recipe.training
    augmented = f", augmentation {', '.join(filter(None, (recipe.data.augment, recipe.data.described)))}"
    yield (
        f"{training.epochs} epochs, batches of {training.batch_size}, {training.optimizer}, learning rate "
        f"{training.lr:g}, schedule {training.schedule}{'' if recipe.data.name == TEXT else augmented}"
    )


def _data(record: RunRecord, data: dict[str, Any], recipe: Recipe) -> Iterator[str]:
    seen = f"up to {data.get('max_length')} tokens"
    if "image_size" in data:
        seen = f"{_shown_size(data['image_size'])} pixels"
    yield f"`{one_line(recipe.data.name)}`, {seen}"
    for part in ("train", "validation", "test"):
        yield f"{part}: {one_line(str(data.get(part, 'not known')))}"
    if data.get("labelled"):
        yield f"labels of {data['labelled']:,} training {record.noun}; the others taught by the teacher alone"
    said = recipe.data.licence or LICENCES.get(recipe.data.name, _UNKNOWN)
    named = identifier(recipe.data.licence, recipe.data.name)
    yield f"licence of the data: {one_line(said)}{f' (`{DATA_LICENCE}: {named}` in the head)' if named else ''}"
    yield "licence of this model: not said; it is its owner's to say, as `license:` in the head of this card"


def _shown_size(value: Any) -> str:
    try:
        return shown(read_size(value))
    except ValueError:
        return "unknown"


def _limits(record: RunRecord, data: dict[str, Any]) -> str:
    classes = data.get("classes")
    names = [one_line(str(name)) for name in classes] if isinstance(classes, list) else []
    few = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    noun = record.noun
    if not names:
        return f"On {noun} that look unlike the training {noun} it may be wrong, and it does not say so. {_LEARNT}"
    return (
        f"It tells these apart: {few}. Of {noun} that are none of these, or that look unlike the training {noun}, its "
        f"answers mean nothing, and it does not say so. {_LEARNT}"
    )


def _made(record: RunRecord) -> Iterator[str]:
    seconds = record.number("train_seconds")
    machine = one_line(str(record.environment.get("hardware", "a machine that is not known")))
    if seconds is not None:
        yield f"cost: {seconds:,.0f} s of training on {machine}, beside whatever else it did"
    yield f"seed {record.seed}"
    for name in ("command", "commit"):
        if record.environment.get(name):
            yield f"{name}: `{_PLACE.sub('', one_line(str(record.environment[name])))}`"
    yield "everything else: `recipe.yaml` in this folder; `layerlink run recipe.yaml` trains it again"
