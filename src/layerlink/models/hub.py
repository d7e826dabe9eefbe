"""Models of ``transformers`` by name or folder: ``hf:NAME_OR_FOLDER`` in a recipe. No code of theirs is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from layerlink.errors import UsageError, unknown_name
from layerlink.files.hub import first_line, not_there, options_of, quiet
from layerlink.optional import need

HEADS = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "image-classification": "AutoModelForImageClassification",
    "causal-lm": "AutoModelForCausalLM",
}
_ALSO = ("attn_implementation",)  # what a model takes beside the fields of its configuration


def hub_model(
    place: str,
    *,
    head: str = "sequence-classification",
    layers: Sequence[int] | None = None,
    pretrained: bool = True,
    **config: Any,
) -> nn.Module:
    """A model of ``transformers``.

    Args:
        place: a folder in the layout of the Hugging Face hub, or one with a GGUF file, or such a file: they are read
            without a network. Or a name on the hub.
        head: what it answers, a key of ``HEADS``. A head that is not in its weights is drawn anew.
        layers: which layers to keep, from 0, in this order; None: all.
        pretrained: read its weights; else the folder's configuration alone is read and all weights are drawn.
        **config: other values in its configuration, such as ``num_labels`` or ``hidden_dropout_prob``; or
            ``attn_implementation="eager"``, without which no map of attention can be read.

    Returns:
        The module, float32, in train mode, on the CPU; what is not read is drawn from torch's global random state.

    Raises:
        UsageError: where there is no such model, head, layer or field.
        LayerlinkError: where ``transformers`` is not installed.
    """
    transformers = need("transformers", "text", f"the model hf:{place}")
    if head not in HEADS:
        raise UsageError(unknown_name("head", head, HEADS))
    where, only_here = options_of(place)
    own = {name: config.pop(name) for name in _ALSO if name in config}
    with quiet(transformers, only_here):
        try:
            known = transformers.AutoConfig.from_pretrained(where, **only_here)
        except Exception as error:  # noqa: BLE001 - whatever the library raises of what is not there
            raise not_there("model hf:", place, error) from None
        _change(place, known, config)
        make = getattr(transformers, HEADS[head])
        try:
            if pretrained:
                model = make.from_pretrained(where, config=known, **only_here, **own)
                _of_plain_weights(model, only_here)
            else:
                model = make.from_config(known, trust_remote_code=False, **own)
        except Exception as error:  # noqa: BLE001 - the same
            hint = " pretrained: false takes its configuration alone" if pretrained else ""
            raise UsageError(f"model hf:{place} with {head} could not be made: {first_line(error)}.{hint}") from None
    if head == "causal-lm":
        model.config.use_cache = False  # of keys and values, which only making up texts needs: ``generate`` has its own
    if layers is not None:
        _keep(model, list(layers), place)
    found: nn.Module = model.float().train()
    return found


def _of_plain_weights(model: Any, options: dict[str, Any]) -> None:
    """Weights of a GGUF file were quantised there; here they are numbers like any other, to be trained and saved."""
    if "gguf_file" not in options:
        return
    model.is_quantized, model.hf_quantizer = False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _change(place: str, known: Any, config: dict[str, Any]) -> None:
    fields = set(known.to_dict()) | {"num_labels", *(getattr(known, "attribute_map", None) or {})}
    problems = [unknown_name("argument", name, fields) for name in config if name not in fields]
    if problems:
        raise UsageError(f"model hf:{place}: {'; '.join(problems)}")
    for name, value in config.items():
        setattr(known, name, value)


def _keep(model: nn.Module, layers: list[int], place: str) -> None:
    """Leave out all layers but these."""
    known: Any = model.config
    count = known.num_hidden_layers
    whole = [(name, it) for name, it in model.named_modules() if isinstance(it, nn.ModuleList) and len(it) == count]
    if not whole:
        raise UsageError(f"model hf:{place}: layers: its {count} layers stand in no list, so none can be left out")
    if not layers or not all(0 <= layer < count for layer in layers) or len(set(layers)) < len(layers):
        raise UsageError(f"model hf:{place}: layers must be some of 0 to {count - 1}, each once; got {layers}")
    name, stack = whole[0]
    kept = nn.ModuleList(stack[layer] for layer in layers)
    for place_in_stack, layer in enumerate(kept):
        for part in layer.modules():
            if hasattr(part, "layer_idx"):  # by which a cache of keys and values is found
                setattr(part, "layer_idx", place_in_stack)  # noqa: B010 - of a module whose class is not known
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, kept)
    known.num_hidden_layers = len(layers)
