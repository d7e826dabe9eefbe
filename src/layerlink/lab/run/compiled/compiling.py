"""Which models of a training are compiled: said by its recipe, or measured before it begins and kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from layerlink.data.examples import copied
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.compiled.passes import Passes, passes_of_students, passes_of_teachers, study_for_nothing
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import set_time, taught_for
from layerlink.lab.run.setup.setup import Setup
from layerlink.measure.timing import Timing, measure_in_turn
from layerlink.taps import Tap
from layerlink.taps.program import Compiling, Programs, next_step, reason
from layerlink.teachers import EMATeacher, Teacher

How = Literal["eager", "compiled", "graphs"]
SHORTEST = 120.0  # seconds of a training for which measuring pays: compiling takes about one minute
GAIN = 0.03  # by which the time of a step must be shorter
_SECONDS = 2.0  # of measuring
_PASSES = 3  # after which CUDA graphs are recorded


@dataclass(frozen=True)
class Ways:
    """How a training's models are run.

    Args:
        teacher: or teachers.
        student: and its peers.
    """

    teacher: How = "eager"
    student: How = "eager"


def asked_ways(setup: Setup) -> Ways | None:
    """What a recipe says; None where it is to be measured."""
    asked = setup.recipe.compile
    if asked == "auto":
        return None
    way: How = "graphs" if asked == "graphs" else "compiled"
    both = asked is True or asked == "graphs"
    return Ways(*(way if both or asked == role else "eager" for role in ("teacher", "student")))


@dataclass(frozen=True)
class _Role:
    """The models of a role, and what a step makes of them: a forward pass, of students also the backward one."""

    name: Literal["teacher", "student"]
    models: tuple[Passes, ...]
    work: Callable[[], None]

    def run(self, programs: Sequence[Programs | None]) -> None:
        """The work, once."""
        for model, of_model in zip(self.models, programs, strict=True):
            model.observed.programs = of_model
        self.work()


class ModelCompiler:
    """Compiles the models of students that train side by side. Weights, buffers and random numbers stay as they are.

    Every pass is made once beforehand, so that no step waits for the compiler, and what cannot be compiled is told
    before the first.

    Args:
        learners: of a cohort, of which the first one's teacher teaches all.
        teacher: of the epoch that comes, as the loop asks it; None where nothing is asked of one.
        place: the epoch and step that come, from 0.
        tell: is told how models are run.
        warn: is told why a model is run eagerly after all.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        teacher: Teacher | None,
        place: tuple[int, int],
        tell: Callable[[str], None] = lambda text: None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.learners, self.teacher, self.tell, self.warn = learners, teacher, tell, warn
        self.setup = learners[0].setup
        # Always the same examples: what a resumed training compiles is what it had.
        self.batch = replace(next(self.setup.batches.epoch(0)), epoch=place[0], step=place[1])
        steps = (self.setup.recipe.training.epochs - place[0]) * len(self.setup.batches) - place[1]
        self.steps = max(steps, 0)

    def compile(self, kept: Sequence[Ways | None] = ()) -> list[Ways]:
        """Compile what the recipe says.

        Args:
            kept: for each learner what was measured before; empty where nothing was.

        Returns:
            For each learner how its models are run from now on.
        """
        before = list(kept) or [None] * len(self.learners)
        known = [asked_ways(it.setup) or was for it, was in zip(self.learners, before, strict=True)]
        of_teacher = next((ways.teacher for ways in known if ways is not None), None)
        teachers = _Role("teacher", tuple(passes_of_teachers(self.learners, self.batch)), self._teach)
        found = self._run(teachers, of_teacher) if teachers.models and self._asks() else "eager"
        ways = []
        for number, learner in enumerate(self.learners):
            way = known[number]
            work = partial(study_for_nothing, learner, self.batch)
            role = _Role("student", tuple(passes_of_students(learner, self.batch)), work)
            ways.append(Ways(found, self._run(role, None if way is None else way.student)))
        return ways

    def run_eagerly(self) -> None:
        """Compile nothing any more."""
        for model in (
            *passes_of_teachers(self.learners, self.batch),
            *(m for it in self.learners for m in passes_of_students(it, self.batch)),
        ):
            model.observed.programs = None

    def _asks(self) -> bool:
        for learner in self.learners:
            set_time(learner.setup, self.batch)
        return any(learner.distiller.wanted for learner in self.learners)

    def _teach(self) -> None:
        taught_for(self.teacher, [learner.setup for learner in self.learners], self.batch)
        for learner in self.learners:  # the average of a student is asked by its distiller
            wanted, own = learner.distiller.wanted, learner.distiller.teacher
            if isinstance(own, EMATeacher) and wanted:
                own(copied(self.batch.images), wanted)

    def _run(self, role: _Role, way: How | None) -> How:
        if way == "eager":
            return way
        if role.name == "student" and here().size > 1:
            self.warn(f"compile: each of {here().size} processes runs the student eagerly: they talk within its pass")
            return "eager"
        try:
            known = [model.known() for model in role.models]
        except Exception as error:  # noqa: BLE001 - of anybody's model: the first step raises it, and tells whose it is
            self.warn(f"compile: the {role.name} is run eagerly: its first pass failed ({reason(error)})")
            return "eager"
        if way is not None:
            return "eager" if self._programs(role, known, way) is None else way
        return self._fastest(role, known)

    def _programs(self, role: _Role, known: list[list[Tap]], way: How) -> list[Programs] | None:
        """The role's models, compiled and tried; None where they cannot be."""
        how = Compiling(
            len(self.batch.labels), not isinstance(self.batch.images, torch.Tensor), way == "graphs", self.warn
        )
        made = []
        for model, taps in zip(role.models, known, strict=True):
            with model.ready():
                made.append(model.observed.compile(taps, how))
        try:
            with warnings.catch_warnings():  # float32 stays float32; what is computed in TF32 is told already
                warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
                for _ in range(_PASSES if way == "graphs" else 1):
                    next_step()
                    role.work()
        except Exception as error:  # noqa: BLE001 - of compilers and drivers in a backward pass, or no memory for them
            made[0].fail(error)
        if all(not it.failure for it in made):
            return made
        for model in role.models:
            model.observed.programs = None
        return None

    def _fastest(self, role: _Role, known: list[list[Tap]]) -> How:
        eager: list[Programs | None] = [None for _ in role.models]
        (alone,) = self._times(role, [eager])
        whole = self.steps * alone.median / 1000
        if whole < SHORTEST:
            self.tell(
                f"compile auto: {role.name} eager: it takes {whole:.0f} s of this training, and compiling a minute"
            )
            return "eager"
        ways: dict[How, list[Programs | None]] = {"eager": eager}
        tried: tuple[How, ...] = ("compiled", "graphs") if self._may_graph() else ("compiled",)
        for way in tried:
            made = self._programs(role, known, way)
            ways |= {} if made is None else {way: list(made)}
        times = dict(zip(ways, self._times(role, list(ways.values())), strict=True))
        best = min(times, key=lambda way: times[way].median)
        if times[best].median > (1 - GAIN) * times["eager"].median:
            best = "eager"
        best = here().first_says(lambda: best)
        for model, programs in zip(role.models, ways.get(best, eager), strict=True):
            model.observed.programs = programs
        told = ", ".join(f"{way} {time.median:.3g} ms" for way, time in times.items())
        self.tell(f"compile auto: {role.name} {best} ({told})")
        return best

    def _may_graph(self) -> bool:
        return self.setup.device.type == "cuda" and isinstance(self.batch.images, torch.Tensor)

    def _times(self, role: _Role, ways: list[list[Programs | None]]) -> list[Timing]:
        def once(programs: list[Programs | None]) -> None:
            next_step()
            role.run(programs)

        works = [lambda programs=programs: once(programs) for programs in ways]
        return measure_in_turn(works, self.setup.device, _SECONDS)
