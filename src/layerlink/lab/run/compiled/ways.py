"""How the models of a training are run: compiled before its first step, and gone on with after a stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, get_args

from layerlink.lab.run.compiled.compiling import How, ModelCompiler, Ways, asked_ways
from layerlink.lab.run.learning.learner import DroppedError, Learner
from layerlink.lab.run.member import Member, remark
from layerlink.lab.run.reading.guardrails import Finding
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.watch import Watch
from layerlink.teachers import Teacher


def compile_models(members: Sequence[Member], teachers: CohortTeacher, watch: Watch) -> None:
    """Compile what the recipe of a cohort says, and keep in its members what was measured for that.

    Where a member's recipe takes a warning for an error, its failure is one.
    """
    if members[0].setup.recipe.compile is False:
        return
    began = time.monotonic()
    place, setups = min(member.position.place for member in members), [member.setup for member in members]

    def warn(text: str) -> None:
        for member in members:
            if member.failure is None:
                remark(member, [Finding("compile", text)], watch)

    compiler = ModelCompiler(
        [member.learner for member in members], teachers.at(place[0], setups), place, watch.tell, warn
    )
    try:
        ways = compiler.compile([read_ways(member.position.compiled) for member in members])
    except DroppedError as error:
        for member in members:
            member.failure = error
        return
    for member, found in zip(members, ways, strict=True):
        if member.setup.recipe.compile == "auto":
            member.position.compiled = asdict(found)
    seconds = time.monotonic() - began
    named = [f"{role} {way}" for role, way in asdict(ways[0]).items() if way != "eager"]
    watch.tell(f"compile: {', '.join(named) or 'all eager'}, in {seconds:.0f} s")


@contextmanager
def compiled_again(
    learner: Learner, teacher: Teacher | None, place: tuple[int, int], known: Mapping[str, Any]
) -> Iterator[None]:
    """Run a learner's models as its run did, from ``place`` on; eagerly again afterwards, so that hooks see layers.

    Args:
        learner: whose steps are made again.
        teacher: of the epoch.
        place: epoch and step, from 0.
        known: what its checkpoint keeps.
    """
    ways = asked_ways(learner.setup) or read_ways(known)
    if learner.setup.recipe.compile is False or ways is None:
        yield
        return
    compiler = ModelCompiler([learner], teacher, place)
    try:
        compiler.compile([ways])
        yield
    finally:
        compiler.run_eagerly()


def read_ways(known: Mapping[str, Any]) -> Ways | None:
    """What a checkpoint keeps of it; None where that is nothing."""
    teacher, student = known.get("teacher"), known.get("student")
    return Ways(teacher, student) if {teacher, student} <= set(get_args(How)) else None  # type: ignore[arg-type]
