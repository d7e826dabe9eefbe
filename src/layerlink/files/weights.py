"""Weights from files, refused where they are damaged, hostile or another model's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import PlaceError, regular
from layerlink.files.paths import expanded
from layerlink.files.whole import load_tensors

STUDENT = "student.safetensors"  # in a run's folder


def extra_file(path: Path) -> Path:
    """Where what is no tensor of a state lies, beside a .safetensors file: ``student.extra.pt``."""
    return path.with_suffix(".extra.pt")


def weights_file(path: Path) -> Path:
    """The file that ``path`` means: itself, or that of the student where it is a run's folder.

    Raises:
        UsageError: where there is none.
        LayerlinkError: where the folder's is no file of its own, but a link, say.
    """
    path = expanded(path)
    if path.is_dir():
        if not (path / STUDENT).exists():
            raise UsageError(f"weights: {path} holds no finished run ({STUDENT} is missing)")
        try:
            regular(path / STUDENT, path)
        except OSError as error:
            raise LayerlinkError(f"weights: {error}") from None
        return path / STUDENT
    if not path.exists():
        raise UsageError(f"weights: there is no {path}. A run's folder holds them once the run is done")
    return path


# What training frameworks wrap weights in, and put before their names.
WRAPPINGS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "student", "state_dict_ema", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "student.")
_KINDS = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt")


def load_weights(model: nn.Module, path: Path) -> str:
    """Load a model's weights from a file or from a run's folder.

    Wrappings such as ``state_dict`` and prefixes such as ``module.`` are taken off where the names fit the model then.

    Returns:
        What was taken off, in a sentence; empty where nothing was.

    Raises:
        UsageError: where there is no such file, or the weights are another model's.
        LayerlinkError: where the file is damaged.
    """
    file = weights_file(path)
    own = model.state_dict()
    every = [_fitted(state, own, wrapping) for wrapping, state in _unwrapped(read_file(file), file)]
    best = min(every, key=lambda found: len(found.differences))
    if best.differences:
        more = f" and {len(best.differences) - 3} more" if len(best.differences) > 3 else ""
        raise UsageError(f"weights: {file} belong to another model: {'; '.join(best.differences[:3])}{more}")
    model.load_state_dict(best.state)
    return f"{file}: {' and '.join(best.taken_off)} taken off" if best.taken_off else ""


@dataclass(frozen=True)
class _Fitted:
    """A state under the model's names.

    Args:
        state: as ``load_state_dict`` takes it.
        taken_off: wrapping and prefixes, in words.
        differences: to the model, in words.
    """

    state: dict[str, Any]
    taken_off: tuple[str, ...]
    differences: tuple[str, ...]


def _unwrapped(loaded: Any, file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every mapping of names to tensors in what a file holds, with what wraps it.

    Raises:
        UsageError: where there is none.
    """
    found = []
    left = [("", loaded)]
    while left:
        wrapping, value = left.pop(0)
        if not isinstance(value, dict) or len(wrapping.split(".")) > 3:
            continue
        tensors = {name: it for name, it in value.items() if isinstance(name, str) and _is_state(name, it)}
        if tensors and len(tensors) == len(value):
            found.append((wrapping, tensors))
        left += [(f"{wrapping}.{name}".strip("."), value[name]) for name in WRAPPINGS if name in value]
    if not found:
        raise UsageError(f"weights: {file} holds no state_dict of tensors, plain or as {', '.join(WRAPPINGS)}")
    return found


def _is_state(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) or name.endswith("_extra_state")


def _fitted(state: dict[str, Any], own: dict[str, Any], wrapping: str) -> _Fitted:
    """The state with prefixes taken off, and with what need not be in a file."""
    taken_off = [repr(wrapping)] if wrapping else []
    if any("._orig_mod." in name for name in state) and not any("_orig_mod." in name for name in own):
        state = {name.replace("._orig_mod.", "."): value for name, value in state.items()}
        taken_off.append("'_orig_mod.'")
    while state.keys() != own.keys():
        prefix = next((it for it in PREFIXES if all(name.startswith(it) for name in state)), None)
        if prefix is None or all(name.startswith(prefix) for name in own):
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        taken_off.append(repr(prefix))
    state = dict(state)
    # How many batches a norm has seen is not in every file, and matters only where its momentum is None.
    state |= {name: own[name] for name in own if name not in state and name.endswith("num_batches_tracked")}
    tied = {it.data_ptr(): name for name, it in own.items() if name in state and isinstance(it, Tensor) and it.numel()}
    for name, value in own.items():  # of tied weights a file may hold one
        if name not in state and isinstance(value, Tensor) and value.data_ptr() in tied:
            state[name] = state[tied[value.data_ptr()]]
    differences = [f"{name} is missing" for name in own if name not in state]
    differences += [f"{name} is not in the model" for name in state if name not in own]
    differences += [
        f"{name} is {tuple(state[name].shape)}, the model's {tuple(own[name].shape)}"
        for name in own
        if isinstance(own[name], Tensor)
        and not is_lazy(own[name])
        and isinstance(state.get(name), Tensor)
        and state[name].shape != own[name].shape
    ]
    return _Fitted(state, tuple(taken_off), tuple(differences))


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors, and what else a state holds, from a file that holds nothing else, plain or wrapped.

    Raises:
        UsageError: where the file is missing or of another kind.
        LayerlinkError: where it is damaged.
    """
    return _unwrapped(read_file(path), path)[0][1]


def read_file(path: Path) -> Any:
    """What a file of weights holds, read as data: no code in it is run.

    Raises:
        UsageError: where the file is missing or of another kind.
        LayerlinkError: where it is damaged, or holds more than data.
    """
    if not path.is_file():
        raise UsageError(f"weights: there is no file {path}")
    if path.suffix not in _KINDS:
        raise UsageError(f"weights: {path} must be one of {', '.join(_KINDS)}")
    try:
        if path.suffix == ".safetensors":
            extra = extra_file(path)
            rest = load_tensors(regular(extra, extra.parent)) if extra.exists() else {}
            return {**safetensors.torch.load_file(regular(path)), **rest}
        return load_tensors(regular(path))
    except PlaceError:
        raise
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, LookupError, BadZipFile) as error:
        raise LayerlinkError(f"weights: {path} is damaged or truncated ({error})") from error
    except Exception as error:
        raise LayerlinkError(
            f"weights: {path} is refused ({type(error).__name__}): it holds more than tensors, and loading it could "
            "run code. Save model.state_dict() in its place, best as safetensors"
        ) from error
