"""The tasks that a recipe may name. A new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerlink.errors import UsageError, unknown_name
from layerlink.tasks.classification import Classification
from layerlink.tasks.multi_label import MultiLabel
from layerlink.tasks.regression import Regression
from layerlink.tasks.segmentation import Segmentation
from layerlink.tasks.task import Task
from layerlink.tasks.tokens import CausalLM, SequenceLabelling
from layerlink.user_code import named

TASKS: dict[str, type[Task]] = {
    kind.name: kind for kind in (Classification, MultiLabel, Segmentation, CausalLM, SequenceLabelling, Regression)
}


def as_task(given: Any, options: Mapping[str, Any] | None = None) -> Task:
    """The task that a name, ``package.module:name`` or a task itself stands for.

    Args:
        given: which.
        options: that it is made with.

    Raises:
        UsageError: where there is none, or it does not take the options.
    """
    if isinstance(given, Task):
        return given
    if isinstance(given, str) and ":" in given:
        make = named(given, "task")
    elif isinstance(given, str) and given in TASKS:
        make = TASKS[given]
    elif isinstance(given, type) and issubclass(given, Task):
        make = given
    else:
        raise UsageError(
            unknown_name("task", given, TASKS)
            if isinstance(given, str)
            else f"a task is a name or a layerlink task, such as layerlink.MultiLabel(); got {type(given).__name__}"
        )
    try:
        task = make(**(options or {}))
    except TypeError as error:
        raise UsageError(f"task {given}: {error}") from None
    if not isinstance(task, Task):
        raise UsageError(f"task {given!r} gives a {type(task).__name__}, not a layerlink.tasks.Task")
    return task
