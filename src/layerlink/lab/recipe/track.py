"""The `track` field of a recipe: which trackers are told of a run, and with what."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from layerlink.errors import unknown_name
from layerlink.lab.recipe.section import FilePath, Section

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")


class TrackerSection(Section):
    """A tracker; a name alone is short for it: `track: [tensorboard, mlflow]`."""

    project: str | None = Field(None, min_length=1, description="what groups runs (MLflow's experiment); layerlink")
    root: FilePath | None = Field(None, description="folder of its files; inside the run's folder by default")
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="what its own beginning takes beside, such as wandb's {mode: online}"
    )


def _by_name(value: Any) -> Any:
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, list | tuple):
        found: dict[Any, Any] = {}
        for item in value:
            found |= item if isinstance(item, dict) else {item: {}}
        return found
    if isinstance(value, dict):
        return {name: {} if section is None else section for name, section in value.items()}
    return value


def _known(value: dict[str, TrackerSection]) -> dict[str, TrackerSection]:
    wrong = [name for name in value if name not in TRACKERS]
    if wrong:
        raise ValueError("; ".join(unknown_name("tracker", name, TRACKERS) for name in wrong))
    return value


TrackField = Annotated[dict[str, TrackerSection], BeforeValidator(_by_name), AfterValidator(_known)]
