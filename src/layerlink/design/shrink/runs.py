"""Runs of layers that a smaller model has fewer of, found by structure and shapes, never by names.

Two kinds: blocks of one class that give the shape that they get (residual blocks, transformer layers), of which some
are left out; and layers with one weight each (convolution, norm, activation), which collapse into one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from layerlink.design.shrink.passes import Call, Pass


@dataclass(frozen=True)
class Unit:
    """Modules that stay or go together.

    Args:
        paths: siblings that follow each other; the first holds the weight.
        weight: path of the one convolution or linear layer; empty for a block.
        fixed: whether it changes the shape, and so cannot go.
    """

    paths: tuple[str, ...]
    weight: str = ""
    fixed: bool = False


@dataclass(frozen=True)
class Run:
    """Units that follow each other and give one shape.

    Args:
        parent: path of the module that holds them.
        units: in the order in which they run; two or more.
        shape: that they give, without the examples.
    """

    parent: str
    units: tuple[Unit, ...]
    shape: tuple[int, ...]

    @property
    def collapses(self) -> bool:
        """Whether its layers become one layer; else blocks are left out."""
        return bool(self.units[0].weight)


def find_runs(model: nn.Module, seen: Pass) -> list[Run]:
    """The runs of a model, in the order of its modules; none inside of another's units."""
    runs: list[Run] = []
    taken: list[str] = []
    last = _end(seen)
    for path, module in model.named_modules():
        if any(path == it or path.startswith(f"{it}.") for it in taken):
            continue
        for chain in _chains(path, module, seen):
            for run in (*_collapsing(path, module, chain, last), *_repeated(path, module, chain)):
                if not any(unit in taken for it in run.units for unit in it.paths):
                    runs.append(run)
                    taken += [name for unit in run.units for name in unit.paths]
    return runs


def _end(seen: Pass) -> object:
    return seen.calls[0].gave


def _chains(path: str, module: nn.Module, seen: Pass) -> Iterator[list[Call]]:
    """Children that ran once and feed each other, in the order in which they ran."""
    names = {f"{path}.{name}".lstrip(".") for name, _ in module.named_children()}
    chain: list[Call] = []
    for call in (it for it in seen.calls if it.path in names):
        if seen.once(call.path) is None:
            continue
        if chain and (call.given is None or call.given is not chain[-1].gave):
            yield chain
            chain = []
        chain.append(call)
    if chain:
        yield chain


def _shape(call: Call) -> tuple[int, ...]:
    return () if call.gave is None else tuple(call.gave.shape[1:])


def _taken_shape(call: Call) -> tuple[int, ...]:
    return () if call.given is None else tuple(call.given.shape[1:])


def _below(module: nn.Module, path: str, parent: str) -> nn.Module:
    return module.get_submodule(path[len(parent) + 1 :] if parent else path)


def _weights(module: nn.Module) -> list[str]:
    """Paths of the layers below that have a kernel or a matrix."""
    return [
        name for name, it in module.named_modules() if any(value.ndim > 1 for value in it.parameters(recurse=False))
    ]


def _collapsing(parent: str, module: nn.Module, chain: list[Call], last: object) -> Iterator[Run]:
    """Runs of single layers. A child without weights that keeps the shape belongs to the layer before it."""
    units: list[tuple[Unit, tuple[int, ...]]] = []

    def closed() -> Iterator[Run]:
        if len(units) > 1:
            yield Run(parent, tuple(unit for unit, _ in units), units[0][1])
        units.clear()

    for call in chain:
        child = _below(module, call.path, parent)
        found = _weights(child)
        if not found:
            if units and _shape(call) == units[-1][1]:
                unit = units[-1][0]
                units[-1] = (Unit((*unit.paths, call.path), unit.weight), units[-1][1])
                continue
            yield from closed()
            continue
        layer = child.get_submodule(found[0])
        if len(found) > 1 or not _can_collapse(layer, call) or call.gave is last:
            yield from closed()
            continue
        if units and units[-1][1] != _shape(call):
            yield from closed()
        units.append((Unit((call.path,), f"{call.path}.{found[0]}".rstrip(".")), _shape(call)))
    yield from closed()


def _can_collapse(layer: nn.Module, call: Call) -> bool:
    """A linear layer, or a convolution in one group that keeps the size of the map; no class of somebody's own."""
    if type(layer) is nn.Linear:
        return True
    if type(layer) is not nn.Conv2d or layer.groups > 1 or layer.padding_mode != "zeros":
        return False
    return _shape(call)[1:] == _taken_shape(call)[1:]


def _repeated(parent: str, module: nn.Module, chain: list[Call]) -> Iterator[Run]:
    """Runs of blocks: of one class, with several weights, the same shape out."""
    run: list[tuple[Call, nn.Module]] = []

    def closed() -> Iterator[Run]:
        if len(run) > 1:
            units = tuple(Unit((call.path,), fixed=_taken_shape(call) != _shape(call)) for call, _ in run)
            yield Run(parent, units, _shape(run[0][0]))
        run.clear()

    for call in chain:
        child = _below(module, call.path, parent)
        same = run and type(run[-1][1]) is type(child) and _shape(run[-1][0]) == _shape(call)
        if run and not (same and _taken_shape(call) == _shape(call)):
            yield from closed()
        if len(_weights(child)) > 1 and _shape(call):
            run.append((call, child))
    yield from closed()
