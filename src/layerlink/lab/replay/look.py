"""One step, made with every layer looked at: terms, gradients, and who first gave a number that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from layerlink.errors import LayerlinkError
from layerlink.lab.replay.readings import Reading, largest, read_layers
from layerlink.lab.replay.step import Step, load
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.setup.setup import Setup
from layerlink.transfer import Activations, Losses

SHOWN = 5  # images of those whose numbers are not finite


@dataclass(frozen=True)
class Look:
    """What one step showed.

    Args:
        precision: of the arithmetic.
        readings: every call of every layer, in their order: teacher, student, then links.
        terms: raw values by name; empty where the step came to an end before.
        weights: their factors.
        total: the weighted sum; NaN where the step came to an end before.
        gradients: the largest absolute gradient by parameter, in the order in which the backward pass came to them;
            empty where there was none.
        first: what was first not finite, a sentence; empty where all was.
        stopped: the error that ended the step; empty where none did.
    """

    precision: str
    readings: tuple[Reading, ...]
    terms: dict[str, float]
    weights: dict[str, float]
    total: float
    gradients: dict[str, float]
    first: str
    stopped: str = ""


def look(learner: Learner, step: Step) -> Look:
    """Make the step, in eager mode, and look at everything. The learner is put at its beginning before.

    Args:
        learner: of the step's run; changed by it.
        step: to make.
    """
    load(learner, step.state)
    setup, batch = learner.setup, step.batch
    learner.start_epoch(batch.epoch or 0)
    losses: Losses | None = None
    taught, stopped = step.taught, ""
    with read_layers(_models(setup), len(batch.labels)) as readings, _read_gradients(setup) as gradients:
        try:
            live = taught_for(setup.taught_by, [setup], batch)  # also where a store was read: its layers are shown
            taught = taught or live
            losses = learner.rehearse(batch, taught)
        except LayerlinkError as error:
            stopped = str(error)
    terms = {} if losses is None else {name: float(term.detach()) for name, term in losses.terms.items()}
    total = math.nan if losses is None else float(losses.total.detach())
    first = _first_in_the_pass(step, readings, taught, terms) or next(_not_finite_sum(terms, total), "")
    if not first and losses is not None:
        first = (
            next(_not_finite_buffers(learner, readings), "")
            or next(_not_finite_gradients(gradients), "")
            or _not_finite_update(learner)
        )
    weights = {} if losses is None else dict(losses.weights)
    return Look(setup.precision, tuple(readings), terms, weights, total, gradients, first, stopped)


def _models(setup: Setup) -> dict[str, nn.Module]:
    teachers = {f"teacher {name}".strip(): model for name, model in setup.teachers.items()}
    distiller = setup.distiller
    named = zip(distiller.whole_objective.links, distiller.parts.values(), strict=True)
    links: dict[str, nn.Module] = {f"link {link.text!r}": part for link, part in named}
    return {**teachers, "student": distiller.student, **links}


@contextmanager
def _read_gradients(setup: Setup) -> Iterator[dict[str, float]]:
    """Read the gradient of every parameter as the backward pass comes to it."""
    found: dict[str, float] = {}

    def reader(name: str) -> Callable[[Tensor], None]:
        def read(parameter: Tensor) -> None:
            found[name] = largest(parameter.grad)

        return read

    named = [(name, it) for name, it in setup.distiller.named_parameters() if it.requires_grad]
    handles = [it.register_post_accumulate_grad_hook(reader(name)) for name, it in named]  # type: ignore[no-untyped-call]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _first_in_the_pass(
    step: Step, readings: Sequence[Reading], taught: Activations | None, terms: dict[str, float]
) -> str:
    """The first layer that gave a number that is not finite, where a term is not; empty where there is none."""
    if terms and all(map(math.isfinite, terms.values())):
        return ""  # an infinite mask, say, is no fault
    given = step.batch.images  # tokens are whole numbers
    bad = [row for row, it in enumerate(given) if not math.isfinite(largest(it))] if isinstance(given, Tensor) else []
    if bad:
        return f"the images themselves: {_examples(bad, step)}"
    reading = next((it for it in readings if not math.isfinite(it.given)), None)
    if reading is not None:
        return _told(reading, step)
    for tap, value in () if taught is None else taught.values.items():
        if not math.isfinite(largest(value)):
            return f"what is stored of the teacher's {tap}: {largest(value):g}"
    return next(
        (
            f"the term {name!r}: {value:g}, of layers that all are finite"
            for name, value in terms.items()
            if not math.isfinite(value)
        ),
        "",
    )


def _told(reading: Reading, step: Step) -> str:
    where = f" in {_examples(reading.images, step)}" if reading.images else ""
    text = f"{reading.name} gave {reading.given:g}{where}"
    if not math.isfinite(reading.weights):
        return f"{text}; its weights reach {reading.weights:g}"
    if math.isfinite(reading.taken):
        return f"{text}; it took at most {reading.taken:g}, its weights reach {reading.weights:g}"
    parent = reading.layer.rpartition(".")[0]
    return (
        f"{text}; what it took was not finite already ({reading.taken:g}), though no layer before it gave such a "
        f"number: look at what {parent or f'the {reading.role}'} computes between its layers, and at masks"
    )


def _examples(rows: Sequence[int], step: Step) -> str:
    indices = [int(step.batch.indices[row]) for row in rows]
    more = ", ..." if len(indices) > SHOWN else ""
    shown = ", ".join(map(str, indices[:SHOWN]))
    noun = "images" if isinstance(step.batch.images, Tensor) else "texts"
    return f"{len(rows)} of {len(step.batch.labels)} {noun} (training {noun} {shown}{more})"


def _not_finite_sum(terms: dict[str, float], total: float) -> Iterator[str]:
    if terms and not math.isfinite(total):
        yield f"the weighted sum of terms that all are finite: {total:g}"


def _not_finite_buffers(learner: Learner, readings: Sequence[Reading]) -> Iterator[str]:
    """Running statistics may overflow where everything else is finite: a variance is a square."""
    taken = {f"student.{it.layer}": it.taken for it in readings if it.role == "student"}
    for name, buffer in learner.distiller.named_buffers():
        value = largest(buffer)
        if not math.isfinite(value):
            layer = name.rpartition(".")[0]
            took = f"; its layer took at most {taken[layer]:g}" if layer in taken else ""
            yield f"the buffer {name}: {value:g}{took}"


def _not_finite_gradients(gradients: dict[str, float]) -> Iterator[str]:
    for name, value in gradients.items():
        if not math.isfinite(value):
            count = sum(not math.isfinite(it) for it in gradients.values())
            yield (
                f"the gradient of {name}: {value:g}, in the backward pass of a loss that is finite "
                f"({count} of {len(gradients)} gradients are not)"
            )


def _not_finite_update(learner: Learner) -> str:
    lr = learner.optimizer.param_groups[0]["lr"]
    learner.update()
    for name, parameter in learner.distiller.named_parameters():
        if parameter.requires_grad and not math.isfinite(largest(parameter)):
            return f"the update of {name}, by a gradient that is finite, at a learning rate of {lr:g}"
    return ""
