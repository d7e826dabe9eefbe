"""The source that rebuilds a student: plain PyTorch, or a class of transformers with another config."""

from __future__ import annotations

import pprint
from typing import Any

import torch
from torch import nn

from layerlink.design.shrink.buffers import keep_buffers
from layerlink.design.shrink.passes import first_tensor, run_pass
from layerlink.design.shrink.source import write_source
from layerlink.design.shrink.tracing import LEFT_OUT
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
        keep_buffers(model)
        text, notes = write_source(model, run_pass(model, example), about), []
    if LEFT_OUT in text:
        notes.append("what the teacher's code does in training alone, such as leaving layers out, is not in the source")
    _try(text, model, example)
    return text, notes


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


def _try(text: str, model: nn.Module, example: Any) -> None:
    space: dict[str, Any] = {}
    try:
        exec(compile(text, "student.py", "exec"), space)  # noqa: S102 - text that was just made from a model in memory
        again = space["build"]()
        again.load_state_dict(model.state_dict())
        again.to(next(model.parameters()).device).eval()
        with torch.no_grad():
            one, other = (first_tensor(call_model(it, example)) for it in (model, again))
    except Exception as error:
        raise UsageError(
            f"the student's source cannot be written: what was written fails with {told(error)}"
        ) from error
    if (
        one is None
        or other is None
        or not torch.allclose(one, other, rtol=0, atol=_SAME * float(one.abs().max() + 1e-9))
    ):
        raise UsageError("the student's source cannot be written: it answers otherwise than the student")
