"""What the tests of the library notice: mutmut breaks ``transfer/`` and ``losses/`` in one place at a time.

    python benchmarks/mutation.py                  # every mutant that was not tried yet, then a table by file
    python benchmarks/mutation.py --again          # those that survived, such as after adding tests
    python benchmarks/mutation.py 'layerlink.transfer.link*'
    mutmut show layerlink.losses.maps.mse.x_mse__mutmut_1

What was found stays in ``mutants/``, so a run that is stopped goes on where it was. mutmut leaves out functions with
decorators, which here are hooks, locks and reading; the decorators below do not mind, and are put back around the
mutants. Not mutated are constants, types, defaults of dataclass fields, and the doctests are not run.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import libcst as cst
import mutmut.__main__ as tool
from mutmut.mutation import file_mutation

HARMLESS = {
    "property",
    "staticmethod",
    "once_differentiable",
    "torch.no_grad()",
    "contextmanager",
    "contextlib.contextmanager",
}
KILLED = "killed"  # not "timeout": a busy computer makes one, too

skips = file_mutation.MutationVisitor._skip_node_and_children
arrangement = file_mutation.function_trampoline_arrangement


def is_harmless(function: Any) -> bool:
    names = [cst.Module([]).code_for_node(decorator.decorator) for decorator in function.decorators]
    return bool(names) and HARMLESS.issuperset(names)


def skips_less(visitor: Any, node: Any) -> bool:
    return not (isinstance(node, cst.FunctionDef) and is_harmless(node)) and skips(visitor, node)


def arranged(function: Any, mutants: Any, class_name: str | None) -> Any:
    """The mutants without the decorators, which stay around the function that chooses one of them."""
    if not is_harmless(function):
        return arrangement(function, mutants, class_name)
    before, (chooser, *others), after, names = arrangement(function.with_changes(decorators=[]), mutants, class_name)
    chooser = chooser.with_changes(decorators=[*function.decorators, *chooser.decorators])
    return before, [chooser, *others], after, names


def outcomes() -> Iterator[tuple[str, dict[str, str]]]:
    """Every mutated file with the outcome of each mutant."""
    for path in sorted(tool.walk_mutatable_files()):
        data = tool.SourceFileMutationData(path=path)
        data.load()
        yield str(path), {name: tool.status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}


def table() -> None:
    print(f"\n{'file':40} {'mutants':>8} {'killed':>8} {'share':>7}  others")
    total: Counter[str] = Counter()
    for path, found in outcomes():
        if found:
            print(line(path.removeprefix("src/layerlink/"), Counter(found.values())))
        total.update(found.values())
    print(line("all", total))


def line(name: str, counts: Counter[str]) -> str:
    killed = counts[KILLED]
    others = ", ".join(f"{count} {status}" for status, count in counts.items() if status != KILLED)
    return f"{name:40} {counts.total():8,} {killed:8,} {killed / counts.total():7.1%}  {others}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mutants", nargs="*", help="names of mutants, with * for any; none: all not tried yet")
    parser.add_argument("--again", action="store_true", help="those that are not killed")
    parser.add_argument("--jobs", default="1", help="processes at a time")
    arguments = parser.parse_args()
    file_mutation.MutationVisitor._skip_node_and_children = skips_less
    file_mutation.function_trampoline_arrangement = arranged
    names = list(arguments.mutants)
    if arguments.again:
        names += [name for _, found in outcomes() for name, status in found.items() if status != KILLED]
    tool.cli(["run", "--max-children", arguments.jobs, *names], standalone_mode=False)
    table()


if __name__ == "__main__":
    sys.exit(main())
