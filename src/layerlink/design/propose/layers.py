"""The layers of a model that are worth a look: one a tensor, none from the inside of a block, in stages of a size.

A model has hundreds of modules, and most of them give what another gives, too, or stand inside of a block, where
architectures differ most. What is kept is found by the structure alone, never by names:

- of modules that give the same tensor the outermost;
- a module is opened where it holds blocks, several modules of one class that are made of the same layers, or more than
  one size of map, unless it is a block itself and not a stage of them: one that ends with a block, or holds many;
- layers of one size that follow each other are a stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import nn

from layerlink.design.propose.calls import Call, Pass
from layerlink.design.propose.sizes import Size, is_line, size_of
from layerlink.taps import Tap
from layerlink.taps.layout import Layout, layout_at


@dataclass(frozen=True)
class Layer:
    """A layer that can be linked.

    Args:
        tap: where it is read; its outermost name.
        shape: without the examples.
        order: its place among the model's layers.
        block: whether it is one of several blocks alike.
        weighs: whether it has weights of its own, other than those of a norm.
        same: how many other modules give the same tensor.
        layout: what is told of it, where it has three axes with the examples.
    """

    tap: Tap
    shape: tuple[int, ...]
    order: int
    block: bool
    weighs: bool
    same: int = 0
    layout: Layout | None = field(default=None, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """Of what it gives: ``map``, ``sequence`` or ``vector``."""
        if not self.size:
            return "vector"
        return "map" if len(self.shape) == 3 or is_line(self.shape, self.layout) else "sequence"

    @property
    def size(self) -> Size:
        """Height and width, or length; empty without positions, or where there is one alone."""
        return size_of(self.shape, self.layout)

    @property
    def words(self) -> str:
        """Its size, such as ``8x8``, ``128 tokens``, ``length 50`` of ``Conv1d`` or ``vector``."""
        if self.kind == "sequence":
            return f"{self.size[0]} tokens"
        if len(self.size) == 1:
            return f"length {self.size[0]}"
        return "x".join(map(str, self.size)) or "vector"

    def __str__(self) -> str:
        return str(self.tap)


@dataclass(frozen=True)
class Stage:
    """Layers of one size that follow each other.

    Args:
        layers: in the order in which they run.
        depth: of its end among the model's layers, 0 to 1.
    """

    layers: tuple[Layer, ...]
    depth: float

    @property
    def end(self) -> Layer:
        """Its last layer."""
        return self.layers[-1]

    @property
    def best(self) -> Layer:
        """The layer at which everything that it computes has come together: the end of its last step."""
        return self.steps[-1]

    @cached_property
    def steps(self) -> tuple[Layer, ...]:
        """The layer that ends each step: a block or a layer with weights, and what follows it up to the next one.

        Where two or more blocks stand among them, the blocks alone: what comes before them, such as an embedding, has
        no counterpart in a model of another depth.
        """
        found: list[Layer] = []
        for layer in self.layers:
            if layer.weighs or layer.block or not found:
                found.append(layer)
            else:  # a norm or an activation ends the step that it belongs to
                found[-1] = replace(layer, block=found[-1].block, weighs=found[-1].weighs)
        blocks = [layer for layer in found if layer.block]
        if len(blocks) > 1:
            return tuple(blocks)
        weighed = [layer for layer in found if layer.weighs]
        return tuple(weighed or found)


@dataclass(frozen=True)
class Layers:
    """What of a model can be linked.

    Args:
        layers: in the order in which they run.
        inside: how many modules stand inside of blocks or give no floating tensor with a row an example.
        output: shape of the model's output without the examples; None where it gives none.
    """

    layers: tuple[Layer, ...]
    inside: int
    output: tuple[int, ...] | None

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order of their ends: of maps and of sequences; of layers without positions one, at the end."""
        runs: list[list[Layer]] = []
        open_runs: dict[str, list[Layer]] = {}
        for layer in self.layers:
            run = open_runs.get(layer.kind)
            if run is None or run[-1].size != layer.size:
                run = open_runs[layer.kind] = []
                runs.append(run)
            run.append(layer)
        last = max(len(self.layers), 1)
        stages = [Stage(tuple(run), (run[-1].order + 1) / last) for run in runs]
        return tuple(sorted(stages, key=lambda stage: stage.end.order))


def layers_of(model: nn.Module, traced: Pass) -> Layers:
    """The layers of a model that can be linked, its output not among them.

    Args:
        model: that was traced.
        traced: what its modules gave.
    """
    tree = _Tree(model, traced)
    opened = frozenset(tree.opened(""))
    groups = [group for group in map(tree.without_output, _same(traced.calls)) if group]
    lengths = {group[0].shape[1] for group in groups if group[0].shape and len(group[0].shape) == 3}
    layers: list[Layer] = []
    for group in groups:
        shape = group[0].shape
        seen = [call.path for call in group if call.path in opened and tree.is_open(call.within)]
        if shape is None or not seen or _is_of_heads(shape, lengths):
            continue
        tap = traced.tap(_outermost(group, traced))
        layers.append(
            Layer(
                tap=tap,
                shape=shape[1:],
                order=len(layers),
                block=any(tree.is_block_among(path, opened) for path in seen),
                weighs=any(map(tree.weighs, seen)),
                same=len(group) - 1,
                layout=layout_at(model, tap),
            )
        )
    output = next((call.shape for call in traced.calls if call.path == ""), None)
    inside = len(traced.calls) - 1 - sum(1 + layer.same for layer in layers)
    return Layers(tuple(layers), max(inside, 0), None if output is None else output[1:])


def _same(calls: Sequence[Call]) -> list[list[Call]]:
    """Calls that follow each other and give the same tensor, together."""
    groups: list[list[Call]] = []
    for call in calls:
        if groups and call.shape is not None:
            last = groups[-1][-1]
            if (last.shape, last.print) == (call.shape, call.print):
                groups[-1].append(call)
                continue
        groups.append([call])
    return groups


def _outermost(group: Sequence[Call], traced: Pass) -> Call:
    """The call that is named best: of a module that runs once and gives the tensor itself, the fewest names deep."""
    return min(group, key=lambda it: (traced.counts[it.path] > 1, len(it.element), it.path.count("."), -it.number))


def _is_of_heads(shape: tuple[int, ...], lengths: set[int]) -> bool:
    """Whether it is attention's inside: (N, heads, L, ...) or (N, L, heads, ...) beside sequences of length L."""
    return len(shape) == 4 and (shape[1] in lengths or shape[2] in lengths)


class _Tree:
    """The modules of a model that ran, as a tree, and which of them are worth opening."""

    def __init__(self, model: nn.Module, traced: Pass) -> None:
        self.modules = dict(model.named_modules())
        self.ran = traced.counts
        self.sizes: dict[str, set[Size]] = {}
        self.prints = {call.path: (call.shape, call.print) for call in traced.calls}
        for call in traced.calls:
            if call.shape is None:
                continue
            layout = layout_at(model, Tap(call.path)) if len(call.shape) == 3 else None
            if size := size_of(call.shape[1:], layout):
                self.sizes.setdefault(call.path, set()).add(size)
        self._made_of = {
            path: (type(module), frozenset(type(it) for it in module.modules() if not any(it.children())))
            for path, module in self.modules.items()
            if any(module.children())
        }

    def opened(self, path: str) -> Iterator[str]:
        """The modules below ``path`` that are kept, opening what holds several of them."""
        for child in self._children(path):
            yield child
            if self._opens(child):
                yield from self.opened(child)

    def without_output(self, group: list[Call]) -> list[Call]:
        """Modules that give the same tensor, without the model itself; none where that is its output and no block's."""
        rest = [call for call in group if call.path]
        return rest if len(rest) == len(group) or any(self.is_block(call.path) for call in rest) else []

    def is_open(self, path: str) -> bool:
        """Whether what a module calls is looked at: it is the model itself, or opened."""
        return not path or self._opens(path)

    def is_block(self, path: str) -> bool:
        """Whether there are others alike."""
        return self._alike(path) > 0

    def is_block_among(self, path: str, others: frozenset[str]) -> bool:
        """Whether there are others alike among some: what is inside of blocks makes no stem a block."""
        made = [self._made_of.get(other) for other in others]
        return self.is_block(path) and made.count(self._made_of[path]) > 1

    def _alike(self, path: str) -> int:
        """How many others are of the same class and made of the same layers, neither inside the other."""
        kind = self._made_of.get(path)
        if kind is None or kind[0] is nn.Sequential:
            return 0
        others = (f"{other}." for other, made in self._made_of.items() if made == kind and other in self.ran)
        return sum(not other.startswith(f"{path}.") and not f"{path}.".startswith(other) for other in others)

    def weighs(self, path: str) -> bool:
        """Whether it has a matrix or kernel among its parameters."""
        return any(parameter.ndim > 1 for parameter in self.modules[path].parameters())

    def _children(self, path: str) -> Iterator[str]:
        """The modules right below that ran, through lists, which do not run."""
        for name, _ in self.modules[path].named_children():
            child = f"{path}.{name}".lstrip(".")
            if child not in self.modules:  # another name of a module that is listed already
                continue
            if child in self.ran:
                yield child
            else:
                yield from self._children(child)

    def _opens(self, path: str) -> bool:
        if path not in self._made_of:
            return False
        blocks, alike, sizes = self._blocks(path), self._alike(path), len(self._sizes_below(path))
        if alike:
            ends_with_one = sizes == 1 and any(self.prints[path] == self.prints[block] for block in blocks)
            return ends_with_one or len(blocks) > alike + 1
        return bool(blocks) or sizes > 1 or self._holds_blocks(path)

    def _blocks(self, path: str) -> list[str]:
        """Its children that are alike and have children themselves."""
        made = {child: self._made_of[child] for child in self._children(path) if child in self._made_of}
        count = Counter(made.values())
        return [child for child, kind in made.items() if count[kind] > 1]

    def _holds_blocks(self, path: str) -> bool:
        return any(self._blocks(child) or self._holds_blocks(child) for child in self._children(path))

    def _sizes_below(self, path: str) -> set[Size]:
        below = (sizes for name, sizes in self.sizes.items() if f"{name}.".startswith(f"{path}."))
        return set().union(*below)
