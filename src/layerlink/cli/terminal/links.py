"""Links as YAML and a shell want them written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from layerlink.cli.terminal.console import Console
from layerlink.transfer import Link


def written_links(console: Console, links: Sequence[str]) -> str:
    """Print how links are written, and give them as an override of a recipe.

    Raises:
        UsageError: for the first that is no link.
    """
    texts = [str(Link.parse(text)) for text in links]
    console.say("yaml       links:")
    for text in texts:
        console.say(f"             - {json.dumps(text, ensure_ascii=False)}")
    override = f"links={json.dumps(texts, ensure_ascii=False)}"
    console.say(f"shell      {shlex.quote(override)}")
    return override
