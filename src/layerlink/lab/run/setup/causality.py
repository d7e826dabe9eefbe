"""Whether a model that is to tell the next token sees it already."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from layerlink.data.examples import Inputs
from layerlink.taps import OUTPUT, Observed, trace

_TOKENS = 8
_SAME = 1e-4  # of the change at the last token: earlier ones are computed alike, so there is none but for odd kernels


def looks_ahead(observed: Observed, sample: Inputs) -> str:
    """Why a model is no causal language model, a sentence; empty where what comes later changes nothing earlier.

    Args:
        observed: gives (N, L, V) of tokens.
        sample: named inputs with ``input_ids`` (N, L); nothing else is looked at.
    """
    if not isinstance(sample, Mapping) or "input_ids" not in sample:
        return ""
    few = tree_map_only(Tensor, lambda it: it[:1, :_TOKENS], dict(sample))
    length = few["input_ids"].shape[1]
    if length < 2:
        return ""
    last = few["input_ids"][:, -1:]
    other = torch.cat([few["input_ids"][:, :-1], torch.where(last > 0, last - 1, last + 1)], 1)
    given = [
        trace(observed, [OUTPUT], inputs, evaluate=True).values.get(OUTPUT)
        for inputs in (few, {**few, "input_ids": other})
    ]
    if any(value is None or value.ndim != 3 for value in given):
        return ""
    change = (given[0] - given[1]).abs().amax((0, 2)).double()  # type: ignore[operator]
    if float(change[:-1].max()) <= _SAME * float(change[-1]):
        return ""
    return (
        "sees tokens that come later: another last token changes what it says before, so it is no causal language "
        "model. Take one, such as a Llama or GPT-2; an encoder is for data with labels, or set arguments: {is_decoder: "
        "true} where its configuration has that"
    )
