"""YAML texts as mappings and lists that know their lines."""

from __future__ import annotations

import warnings
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from layerlink.config.plain_values import short
from layerlink.errors import Problem, ProblemsError


def parse_yaml(text: str, source: str) -> Any:
    """The file's mappings and lists, which know their lines."""
    try:
        tree = load_yaml(text, "rt")
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else None
        what = str(error.problem or error.context)
        if r"'\t'" in what:
            what += ". Indent with blanks: YAML takes no tabs there"
        elif "another document" in what:
            what = "--- begins a second document here, and a file holds one. Remove it, or make it a file of its own"
        elif "cannot start any token" in what:  # a link at @output, a name in backticks
            what += ". Put the value in quotes: YAML keeps @ and ` for itself at its beginning"
        raise ProblemsError(source, [Problem("YAML", what, line)]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ProblemsError(source, [Problem("YAML", str(error) or type(error).__name__)]) from None
    if not isinstance(tree, dict):
        got = "it is empty" if tree is None else f"got {short(tree)}"
        raise ProblemsError(source, [Problem("file", f"must be fields like `student: vgg7`; {got}", 1)])
    return tree


def load_yaml(text: str, kind: Literal["rt", "safe"]) -> Any:
    """What a YAML text holds: "rt" with lines, "safe" without.

    Raises:
        YAMLError, ValueError, RecursionError: where it is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's, about anchors that are used twice
            if "*" in text and "&" in text:  # an alias inside its own value would be read as nothing, without a word
                _refuse_loops(YAML(typ="safe", pure=True).compose(text), frozenset(), set())
            return YAML(typ=kind, pure=True).load(text)
    except (YAMLError, ValueError, RecursionError):
        raise
    except Exception as error:  # tags on what they do not fit meet the library's own faults: !!int '', !!bool x
        raise ValueError(f"a value does not fit its tag ({type(error).__name__}: {error})") from error


def _refuse_loops(node: Any, above: frozenset[int], done: set[int]) -> None:
    if id(node) in above:
        raise ValueError("an alias stands inside the value that it stands for")
    if id(node) in done or not isinstance(getattr(node, "value", None), list):
        return
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            _refuse_loops(part, above | {id(node)}, done)
    done.add(id(node))
