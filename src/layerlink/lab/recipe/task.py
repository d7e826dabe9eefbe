"""The `task` of a recipe: what the outputs mean."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from layerlink.errors import UsageError
from layerlink.lab.recipe.section import Section
from layerlink.tasks import Task, as_task


class TaskSection(Section):
    """What the outputs mean; `task: segmentation` is short for `task: {name: segmentation}`."""

    name: str = Field("classification", description="a task that `layerlink ls` shows, or package.module:callable")
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="of the task, such as {ignore: 255}")

    def build(self) -> Task:
        """The task that this section describes.

        Raises:
            UsageError: where there is none.
        """
        return as_task(self.name, self.arguments)

    @model_validator(mode="after")
    def _is_known(self) -> TaskSection:
        if ":" not in self.name:  # a callable of the user's own is imported where it is needed, not where it is read
            try:
                self.build()
            except UsageError as error:
                raise ValueError(str(error)) from None
        return self


def _task_by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


TaskField = Annotated[TaskSection, BeforeValidator(_task_by_name)]
