"""The source that rebuilds a student: plain PyTorch, or a class of transformers with another config."""

from __future__ import annotations

import copy
import pprint
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.design.propose.batches import examples_in, few
from layerlink.design.shrink.passes import first_tensor, run_pass
from layerlink.design.shrink.source.buffers import keep_buffers
from layerlink.design.shrink.source.model import write_source
from layerlink.design.shrink.source.tracing import LEFT_OUT
from layerlink.errors import UsageError
from layerlink.taps.modules import call_model
from layerlink.user_code import told

_SAME = 1e-4  # of the largest output


def source_of(model: nn.Module, example: Any, about: str) -> tuple[str, list[str]]:
    """The source, tried: what it builds has the student's weights and answers; and notes on it.

    Raises:
        UsageError: where it cannot be written.
    """
    if type(model).__module__.startswith("transformers.") and hasattr(model, "config"):
        text = _with_config(model, about)
        notes = ["its source imports its class of transformers, with another config"]
    else:
        saved = keep_buffers(model)
        seen = run_pass(model, example)
        text, notes = write_source(model, seen, about), []
        if "if self.training:\n" in text and not _learns_alike(text, model, example):
            text = write_source(model, seen, about, both_ways=False)
        if saved:
            notes.append(f"saved with the weights, since no short code makes them: {', '.join(saved)}")
    if LEFT_OUT in text:
        notes.append("what the teacher's code does in training alone, such as leaving layers out, is not in the source")
    return text, notes + _try(text, model, example)


def _with_config(model: nn.Module, about: str) -> str:
    config: Any = model.config
    kind, name = type(config).__name__, type(model).__name__
    left_out = ("transformers_version", "architectures", "model_type", "_name_or_path", "torch_dtype", "dtype")
    fields = {key: value for key, value in config.to_diff_dict().items() if key not in left_out}
    shown = pprint.pformat(fields, width=100, sort_dicts=False).replace("\n", "\n    ")
    return (
        f'"""{about}"""\n\nfrom transformers import {kind}, {name}\n\nCONFIG = {shown}\n\n\n'
        f'def build():\n    """The model, with new weights."""\n    return {name}({kind}(**CONFIG))\n'
    )


def _learns_alike(text: str, model: nn.Module, example: Any) -> bool:
    """Whether source and student give the same in training, from the same random numbers, and keep the same of it."""
    space: dict[str, Any] = {}
    found = []
    try:
        exec(compile(text, "student.py", "exec"), space)  # noqa: S102 - text that was just made from a model in memory
        again, own = space["build"](), copy.deepcopy(model)
        again.load_state_dict(model.state_dict())
        again.to(next(model.parameters()).device)
        for it in (own, again):
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(0)
                found.append((first_tensor(call_model(it.train(), example)), it.state_dict()))
    except Exception:  # noqa: BLE001 - whatever a model does in training, or its source
        return False
    (one, kept), (other, again_kept) = found
    if one is None or other is None or not torch.allclose(one, other, rtol=0, atol=_SAME * float(one.abs().max())):
        return False
    return all(torch.allclose(it, again_kept[name], rtol=_SAME, atol=_SAME) for name, it in kept.items())


def _try(text: str, model: nn.Module, example: Any) -> list[str]:
    """What there is to know of the source, which is run with the student's weights."""
    space: dict[str, Any] = {}
    try:
        exec(compile(text, "student.py", "exec"), space)  # noqa: S102 - text that was just made from a model in memory
        again = space["build"]()
        again.load_state_dict(model.state_dict())
        again.to(next(model.parameters()).device).eval()
        same = _same(model, again, example)
    except Exception as error:
        raise UsageError(
            f"the student's source cannot be written: what was written fails with {told(error)}"
        ) from error
    if not same:
        raise UsageError("the student's source cannot be written: it answers otherwise than the student")
    if not _works(model, again, few(example, max(examples_in(example) - 1, 1))):
        raise UsageError(
            "the student's source cannot be written: it works for as many examples as were given alone, since forward "
            "makes a plain number of their count; read it as x.shape[0] or x.size(0), and leave it a size"
        )
    short = tree_map_only(Tensor, lambda it: it[:, :-1] if it.ndim == 2 and it.shape[1] > 2 else it, example)
    given = first_tensor(example)
    if given is None or given.is_floating_point() or _works(model, again, short):
        return []
    return ["its source takes sequences of the examples' length alone: forward makes a plain number of it"]


def _same(model: nn.Module, again: nn.Module, example: Any) -> bool:
    with torch.no_grad():
        one, other = (first_tensor(call_model(it, example)) for it in (model, again))
    if one is None or other is None or one.shape != other.shape:
        return False
    return torch.allclose(one, other, rtol=0, atol=_SAME * float(one.abs().max() + 1e-9))


def _works(model: nn.Module, again: nn.Module, example: Any) -> bool:
    """Whether the source answers as the student does, where that answers."""
    try:
        with torch.no_grad():
            call_model(model, example)
    except Exception:  # noqa: BLE001 - whatever a model does with sizes that it is not made for
        return True
    try:
        return _same(model, again, example)
    except Exception:  # noqa: BLE001 - whatever the source does
        return False
