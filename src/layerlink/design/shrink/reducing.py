"""A teacher's copy with fewer layers: blocks left out, single layers collapsed, what is left renumbered."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerlink.design.shrink.runs import Run


@dataclass(frozen=True)
class Collapsed:
    """Layers that became one.

    Args:
        first: path in the teacher of the first one's weight.
        last: path in the teacher of the last one's weight, whose place the new layer has.
        module: the new layer.
    """

    first: str
    last: str
    module: nn.Module


@dataclass(frozen=True)
class Reduced:
    """A student, and what of it is what of the teacher.

    Args:
        model: the student.
        collapsed: its layers that stand for several.
        paths: by path in the teacher, the path of what stands in its place.
        kept: by the parent of each run, how many of its layers are left of how many.
    """

    model: nn.Module
    collapsed: tuple[Collapsed, ...]
    paths: dict[str, str]
    kept: tuple[tuple[str, int, int], ...]


def reduce_depth(teacher: nn.Module, runs: Sequence[Run], kept: Sequence[int]) -> Reduced:
    """The teacher's copy with ``kept[i]`` units of each run.

    What is left begins as the teacher's, evenly picked, first and last among it. A layer that stands for several has
    the weight of the first of them where that fits, else that of the last, else new ones. All of it can be trained.
    """
    model = copy.deepcopy(teacher)
    for parameter in model.parameters():  # the teacher may be frozen, and its student is to learn
        parameter.requires_grad_(parameter.is_floating_point())
    modules = {id(module): path for path, module in model.named_modules()}
    held = dict(model.named_modules())  # so that no id is given away twice
    collapsed: list[Collapsed] = []
    for run, count in zip(runs, kept, strict=True):
        if run.collapses:
            collapsed += _collapse(model, run, count)
        else:
            _leave_out(model, run, count)
    for module in list(model.modules()):
        if isinstance(module, nn.Sequential | nn.ModuleList):
            _renumber(module)
    _tell_config(model, runs, kept)
    del held
    paths = {modules[id(module)]: path for path, module in model.named_modules() if id(module) in modules}
    places = tuple((run.parent, count, len(run.units)) for run, count in zip(runs, kept, strict=True))
    return Reduced(model, tuple(collapsed), paths, places)


class Removed(nn.Identity):
    """Stands where a layer was, until the list that holds it is renumbered."""


def evenly(count: int, of: int) -> list[int]:
    """``count`` places of 0 .. of - 1, evenly spread, the first and the last among them; one alone is the first.

    >>> evenly(3, 9)
    [0, 4, 8]
    """
    return sorted({round(place * (of - 1) / max(count - 1, 1)) for place in range(count)})


def _leave_out(model: nn.Module, run: Run, count: int) -> None:
    stay = evenly(count, len(run.units))
    for place, unit in enumerate(run.units):
        if place not in stay:
            for path in unit.paths:
                model.set_submodule(path, Removed())


def _collapse(model: nn.Module, run: Run, count: int) -> list[Collapsed]:
    """Parts of equal length, the longer ones first; each becomes the last of its units."""
    made = []
    sizes = [len(run.units) // count + (place < len(run.units) % count) for place in range(count)]
    start = 0
    for size in sizes:
        part = run.units[start : start + size]
        start += size
        if size == 1:
            continue
        first, last = (model.get_submodule(unit.weight) for unit in (part[0], part[-1]))
        layer = _merged(first, last)
        model.set_submodule(part[-1].weight, layer) if part[-1].weight else None
        if _same_kernel(first, layer):
            _copy_norms(model, part[0].paths, part[-1].paths)
        made.append(Collapsed(part[0].weight, part[-1].weight, layer))
        for unit in part[:-1]:
            for path in unit.paths:
                model.set_submodule(path, Removed())
    return made


def _same_kernel(one: nn.Module, other: nn.Module) -> bool:
    return isinstance(one.weight, torch.Tensor) and one.weight.shape == other.weight.shape


def _merged(first: nn.Module, last: nn.Module) -> nn.Module:
    """One layer from the first one's inputs to the last one's outputs."""
    if isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d):
        options = {"padding": last.padding, "dilation": last.dilation, "bias": last.bias is not None}
        layer: nn.Module = nn.Conv2d(first.in_channels, last.out_channels, last.kernel_size, **options)  # type: ignore[arg-type]
    else:
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)  # noqa: S101, PT018 - runs are of one kind
        layer = nn.Linear(first.in_features, last.out_features, bias=last.bias is not None)
    layer.to(next(last.parameters()))
    for source in (first, last):
        if _same_kernel(source, layer):
            with torch.no_grad():
                for name, value in layer.named_parameters():
                    value.copy_(getattr(source, name) if getattr(source, name) is not None else 0 * value)
            break
    return layer


def _copy_norms(model: nn.Module, first: Sequence[str], last: Sequence[str]) -> None:
    """The norms of a layer go with its weight."""
    for one, other in zip(first, last, strict=False):
        source, target = model.get_submodule(one).state_dict(), model.get_submodule(other).state_dict()
        for name, value in target.items():
            if name in source and source[name].shape == value.shape:
                value.copy_(source[name])


def _renumber(module: nn.Sequential | nn.ModuleList) -> None:
    """Close the gaps in a list's numbers; names that somebody chose stay."""
    left = {name: it for name, it in module._modules.items() if not isinstance(it, Removed)}
    if len(left) == len(module._modules):
        return
    numbered = all(name.isdigit() for name in module._modules)
    module._modules.clear()
    for place, (name, it) in enumerate(left.items()):
        module._modules[str(place) if numbered else name] = it


def _set(config: Any, name: str, value: int) -> None:
    try:
        setattr(config, name, value)
    except AttributeError:  # of a frozen dataclass; this one is a copy
        object.__setattr__(config, name, value)


_DEPTH = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
)  # of configs, and of modules that go through their layers by number


def _tell_config(model: nn.Module, runs: Sequence[Run], kept: Sequence[int]) -> None:
    """The number of layers, in the config of a model and in the modules that hold them; and each layer's own number."""
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        for run, count in zip(runs, kept, strict=True):
            for name in _DEPTH if config is not None else ():
                if getattr(config, name, None) == len(run.units):
                    _set(config, name, count)
                    kinds = getattr(config, "layer_types", None)
                    if isinstance(kinds, list) and len(kinds) == len(run.units):
                        config.layer_types = [kinds[place] for place in evenly(count, len(run.units))]
    for run, count in zip(runs, kept, strict=True):
        for holder in _holders(model, run.parent):
            for name in _DEPTH:
                if vars(holder).get(name) == len(run.units):
                    setattr(holder, name, count)
    for run in runs:
        parent = model.get_submodule(run.parent)
        for place, block in enumerate(parent.children() if isinstance(parent, nn.ModuleList) else ()):
            for module in block.modules():
                if isinstance(getattr(module, "layer_idx", None), int):
                    module.layer_idx = place  # type: ignore[assignment]


def _holders(model: nn.Module, path: str) -> list[nn.Module]:
    """The modules that a module is in, and itself."""
    names = path.split(".") if path else []
    return [model.get_submodule(".".join(names[:count])) for count in range(len(names) + 1)]
