from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from layerlink.cli.terminal.fields import fields_page
from layerlink.config.reference import tables


class Inner(BaseModel):
    """Of one thing."""

    size: int = Field(3, ge=1, lt=10, description="how big")


class Outer(BaseModel):
    """All there is."""

    start: float | None = Field(None, gt=0, alias="from", description="when")
    kind: Literal["a", "b"] = Field("a", description="one | the other")
    inner: Inner | None = Field(None, description="a part")
    named: dict[str, Annotated[Inner, "anything"]] = Field(description="parts by name")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1, 2), description="numbers")


def test_a_schema_as_tables() -> None:
    assert tables(Outer, heading="It") == (
        "## It\n\nAll there is.\n\n| field | values | default | meaning |\n|---|---|---|---|\n"
        "| `from` | number > 0 | none | when |\n"
        "| `kind` | `a`, `b` | `a` | one \\| the other |\n"
        "| `inner` | section | none | a part |\n"
        "| `named` | section | required | parts by name |\n"
        "| `seeds` | list of whole numbers | `[1, 2]` | numbers |\n\n"
        "### `inner`\n\nOf one thing.\n\n| field | values | default | meaning |\n|---|---|---|---|\n"
        "| `size` | whole number ≥ 1 < 10 | `3` | how big |\n"
    )


def test_the_page_is_what_the_schemas_say_and_every_field_is_explained() -> None:
    """Made again by ``layerlink ls fields > docs/recipes.md``."""
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    assert page == fields_page()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |")]
