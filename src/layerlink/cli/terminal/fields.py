"""Every field of recipes, sweeps and searches, as the page ``docs/recipes.md``."""

from __future__ import annotations

from layerlink.config.reference import tables
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.search.schema import Search
from layerlink.lab.sweep.schema import Sweep

BEGINNING = """# Recipes, sweeps, searches: every field

A recipe is a YAML file; `key=value` on the command line changes any field by its dotted name (`training.epochs=3`).
`layerlink check` tells every mistake at once, with its line. This page is made from the schema:
`layerlink ls fields > docs/recipes.md`.

"""


def fields_page() -> str:
    """The page, in Markdown."""
    schemas = (("A recipe", Recipe), ("A sweep", Sweep), ("A search", Search))
    return BEGINNING + "\n".join(tables(schema, heading=heading) for heading, schema in schemas)
