"""How maps lie in memory: channels last is fast, and the library's idea; a model need not know of it."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.taps.modes import set_mode, untouched
from layerlink.taps.modules import call_model
from layerlink.taps.observed import Arithmetic

_BY_ROWS: WeakSet[nn.Module] = WeakSet()
_VIEW = "view size is not compatible"  # as torch says where a map does not lie as a view needs it


@torch.no_grad()
def keep_rows_together(model: nn.Module, sample: Any, arithmetic: Arithmetic) -> bool:
    """Let a model that cannot work on channels-last maps have its images, and keep its weights, as torch makes them.

    Such a model flattens a map by ``view``, which goes along rows of pixels. Any other is left as it is.

    Args:
        model: run on the sample in both modes, and left as it was.
        sample: two views; of images channels last.
        arithmetic: makes the context to run in.

    Returns:
        Whether it is such a model. Its weights must then stay in ``torch.contiguous_format``.
    """
    if not isinstance(sample, Tensor):  # texts are no maps
        return False
    if model in _BY_ROWS:  # a teacher that is shared
        return True
    if not (_stumbles(model, sample, arithmetic) and not _stumbles(model, _by_rows(sample), arithmetic)):
        return False
    model.register_forward_pre_hook(_in_rows, with_kwargs=True)
    _BY_ROWS.add(model)
    return True


def _in_rows(
    _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    rows = tree_map_only(Tensor, _by_rows, (args, kwargs))
    return rows[0], rows[1]


def _by_rows(tensor: Tensor) -> Tensor:
    """A copy: of a single channel ``contiguous`` would take either format for the other."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _stumbles(model: nn.Module, sample: Tensor, arithmetic: Arithmetic) -> bool:
    with untouched(model), arithmetic():
        try:
            for training in (True, False):
                set_mode(model, training=training)
                call_model(model, sample.clone())
        except RuntimeError as error:
            return _VIEW in str(error)
        except Exception:  # noqa: BLE001 - what else a model raises is told where it is checked
            return False
    return False
