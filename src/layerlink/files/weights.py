"""Weights from files, refused where they are damaged, hostile or another model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from layerlink.errors import LayerlinkError, UsageError
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
    """
    path = expanded(path)
    if path.is_dir():
        if not (path / STUDENT).exists():
            raise UsageError(f"weights: {path} holds no finished run ({STUDENT} is missing)")
        return path / STUDENT
    if not path.exists():
        raise UsageError(f"weights: there is no {path}. A run's folder holds them once the run is done")
    return path


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a model's weights from a file or from a run's folder.

    Raises:
        UsageError: where there is no such file, or the weights are another model's.
        LayerlinkError: where the file is damaged.
    """
    file = weights_file(path)
    state, own = read_weights(file), model.state_dict()
    # How many batches a norm has seen is not in every file, and matters only where its momentum is None.
    state |= {name: own[name] for name in own if name not in state and name.endswith("num_batches_tracked")}
    differences = [f"{name} is missing" for name in own if name not in state]
    differences += [f"{name} is not in the model" for name in state if name not in own]
    differences += [
        f"{name} is {tuple(state[name].shape)}, the model's {tuple(own[name].shape)}"
        for name in own
        if name in state and isinstance(own[name], Tensor) and state[name].shape != own[name].shape
    ]
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UsageError(f"weights: {file} belong to another model: {'; '.join(differences[:3])}{more}")
    model.load_state_dict(state)


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors, and what else a state holds, from a .safetensors file, or from a .pt, .pth or .th file that holds
    nothing but tensors.

    Raises:
        UsageError: where the file is missing or of another kind.
        LayerlinkError: where it is damaged.
    """
    if not path.is_file():
        raise UsageError(f"weights: there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            rest = load_tensors(extra_file(path)) if extra_file(path).exists() else {}
            return {**safetensors.torch.load_file(path), **rest}
        if path.suffix in (".pt", ".pth", ".th"):
            loaded = load_tensors(path)
            state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
            if isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values()):
                return dict(state)
            raise UsageError(f"weights: {path} holds no state_dict of tensors")
    except UsageError:
        raise
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, LookupError, BadZipFile) as error:
        raise LayerlinkError(f"weights: {path} is damaged or truncated ({error})") from error
    except Exception as error:
        raise LayerlinkError(
            f"weights: {path} is refused ({type(error).__name__}): it holds more than tensors, and loading it could "
            "run code. Save model.state_dict() in its place, best as safetensors"
        ) from error
    raise UsageError(f"weights: {path} must be .safetensors, .pt, .pth or .th")
