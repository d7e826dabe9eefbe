"""The `compile` of a recipe: which models are run as programs of torch's compiler."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

CompileField = Annotated[
    Literal[False, True, "teacher", "student", "auto", "graphs"],
    Field(
        description="run by torch.compile: true (teacher and student), teacher, student; graphs: both, as CUDA graphs; "
        "auto: what is faster, as measured before a training that is long enough"
    ),
]
