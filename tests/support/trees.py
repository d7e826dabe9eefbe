"""Trees and texts that are nearly recipes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

SCALARS = [None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 1e-320, 1e308, -1e308, float("inf"), float("nan"), 0.5]
WORDS = ["", "auto", "vgg7", "no", "~", "1e3", "0x1f", "a : mse", "a:b", "\ud800", "\0", "é", "~nobody/x", "x" * 5000]
TOKENS = ["&a ", "*a", "<<: *a\n", "!!python/object/apply:os.abort []", "!!set ", "!!int ", "!!timestamp 1", "? ", "- "]
TOKENS += ["\t", "\0", "{", "}", "[", "]", ": ", "\n", "  ", "'", '"', "|", ">", "%YAML 1.1\n", "---\n", "...", "!x "]
TOKENS += ["student: vgg7\n", "0x" + "f" * 6000, "9" * 5000, ".nan", ".inf", "2001-01-01", "é", "\x85", "\ufeff", "="]


def junk() -> st.SearchStrategy[Any]:
    """Any value that JSON can write."""
    scalars = st.sampled_from([*SCALARS, *WORDS]) | st.integers() | st.floats() | st.text(max_size=8)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=8,
    )


@st.composite
def changed_trees(draw: st.DrawFn, trees: Sequence[Any]) -> Any:
    """One of ``trees`` with up to three fields removed, replaced, added or copied elsewhere."""
    tree = copy.deepcopy(draw(st.sampled_from(trees)))
    for _ in range(draw(st.integers(1, 3))):
        holders = list(_holders(tree))
        holder = draw(st.sampled_from(holders))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add", "copy"]))
        if kind == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(WORDS) | st.text(max_size=8))] = draw(junk())
        elif keys:
            key = draw(st.sampled_from(keys))
            if kind == "remove":
                del holder[key]
            else:
                holder[key] = copy.deepcopy(draw(st.sampled_from(holders)) if kind == "copy" else draw(junk()))
    return tree


def _holders(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _holders(value)


@st.composite
def yaml_texts(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """One of ``texts`` with pieces of YAML put in, lines taken out or repeated."""
    text = draw(st.sampled_from([*texts, ""]))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        if draw(st.booleans()):
            text = text[:place] + draw(st.sampled_from(TOKENS)) + text[place:]
        else:
            lines = text.splitlines(keepends=True) or [""]
            line = draw(st.integers(0, len(lines) - 1))
            lines[line] *= draw(st.sampled_from([0, 2]))
            text = "".join(lines)
    return text
