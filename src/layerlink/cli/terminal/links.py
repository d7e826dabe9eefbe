"""Links as YAML and a shell want them written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from layerlink.cli.terminal.console import Console
from layerlink.errors import Problem, ProblemsError, UsageError
from layerlink.transfer import Link


def written_links(console: Console, links: Sequence[str]) -> str:
    """Print how links are written, and give them as an override of a recipe.

    Raises:
        ProblemsError: for all that are no links.
    """
    texts, problems = [], []
    for text in links:
        try:
            texts.append(str(Link.parse(text)))
        except UsageError as error:
            problems.append(Problem(json.dumps(text, ensure_ascii=False), str(error)))
    if problems:
        raise ProblemsError("--link", problems)
    console.say("yaml       links:")
    for text in texts:
        console.say(f"             - {json.dumps(text, ensure_ascii=False)}")
    override = f"links={json.dumps(texts, ensure_ascii=False)}"
    console.say(f"shell      {shlex.quote(override)}")
    return override
