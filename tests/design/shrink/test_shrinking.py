from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import layerlink as ll
from layerlink.design.shrink.folder import weights_of
from layerlink.design.shrink.passes import run_pass
from layerlink.design.shrink.runs import find_runs
from nets import images


def model(name: str, **arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return ll.build_model(name, num_classes=10, image_size=32, channels=3, **arguments).eval()


def shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(it.shape) for it in module.parameters()]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_collapsing_vgg16_gives_the_studys_vgg7(batch_norm: bool) -> None:
    narrow = {"batch_norm": batch_norm, "width": 0.25}
    shrunk = ll.shrink(model("vgg16", **narrow), images(4), collapse=True, start="copy")
    expected = model("vgg7", **narrow)
    assert shapes(shrunk.model) == shapes(expected)
    leaves = [[type(it).__name__ for it in module.modules() if not list(it.children())] for module in (expected,)]
    kept = [type(it).__name__ for it in shrunk.model.modules() if not list(it.children())]
    assert [name for name in kept if name != "Removed"] == leaves[0]
    assert list(shrunk.model.state_dict()) == list(expected.state_dict())
    expected.load_state_dict(shrunk.model.state_dict())
    assert torch.equal(expected(images(4)), shrunk.model(images(4)))
    names = ("group1", "group2", "group3", "group4", "group5", "hidden")
    assert shrunk.links == [f"{name} -> {name} : mse, scale=teacher" for name in names]


def test_vgg7_has_the_studys_number_of_parameters() -> None:
    shrunk = ll.shrink(model("vgg16"), images(4), collapse=True, start="copy")
    assert shrunk.counts["params"] == (33_638_218, 6_053_002)
    first = shrunk.model.get_submodule("group3.0.0")
    assert torch.equal(first.weight, model("vgg16").get_submodule("group3.0.0").weight)


def test_a_resnet_keeps_first_and_last_blocks() -> None:
    teacher = model("resnet56")
    shrunk = ll.shrink(teacher, images(4), params=0.316)
    assert [count for _, count, _ in shrunk.kept] == [3, 3, 3]
    assert shapes(shrunk.model) == shapes(model("resnet20"))
    for place, there in enumerate((0, 4, 8)):
        one, other = (
            it.get_submodule(path)
            for it, path in ((shrunk.model, f"layer2.{place}.conv2"), (teacher, f"layer2.{there}.conv2"))
        )
        assert torch.equal(one.weight, other.weight)
    assert shrunk.links == [f"layer{n} -> layer{n} : mse, scale=teacher" for n in (1, 2, 3)]


SLOW = pytest.mark.long


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("resnet20", 0.5),
        ("wrn_16_2", 0.5),
        pytest.param("mobilenet_v2", 0.7, marks=SLOW),
        pytest.param("shufflenet_v2", 0.5, marks=SLOW),
        pytest.param("vgg13", 0.5, marks=SLOW),
    ],
)
def test_the_budget_is_met_as_counted(name: str, share: float) -> None:
    pytest.importorskip("torch_pruning")
    teacher = model(name)
    shrunk = ll.shrink(teacher, images(4), params=share, start="copy")
    count = [sum(it.numel() for it in module.parameters()) for module in (shrunk.model, teacher)]
    assert abs(count[0] / count[1] / share - 1) <= 0.1
    assert shrunk.shares["params"] == count[0] / count[1]


@pytest.mark.long  # it measures again where the machine is busy
def test_a_budget_of_time_is_met_as_measured() -> None:
    teacher = model("resnet20", width=2)
    shrunk = ll.shrink(teacher, images(8), latency=0.6)
    assert shrunk.counts["flops"][1] < 0.9 * shrunk.counts["flops"][0]
    assert shrunk.notes or abs(shrunk.shares["latency"] / 0.6 - 1) <= 0.1


def test_channels_become_fewer_where_layers_are_not_enough() -> None:
    pytest.importorskip("torch_pruning")
    shrunk = ll.shrink(model("wrn_16_2"), images(4), flops=0.1)
    assert abs(shrunk.shares["flops"] - 0.1) <= 0.01
    assert shrunk.width < 1
    assert all(link.endswith("adapter=auto") for link in shrunk.links)


def test_channels_that_the_models_code_fixes_stay() -> None:
    pytest.importorskip("torch_pruning")
    shrunk = ll.shrink(model("resnet20"), images(4), params=0.15)
    assert shrunk.model.get_submodule("linear").in_features == 64
    assert abs(shrunk.shares["params"] / 0.15 - 1) <= 0.1


def test_a_frozen_teacher_has_a_narrower_student_that_learns() -> None:
    pytest.importorskip("torch_pruning")
    teacher = model("vgg7", width=0.1).requires_grad_(False)
    shrunk = ll.shrink(teacher, images(4), params=0.5)  # layers alone do not reach it
    assert shrunk.shares["params"] == pytest.approx(0.5, rel=0.1)
    assert shrunk.width < 1
    assert all(it.requires_grad for it in shrunk.model.parameters())
    assert not any(it.requires_grad for it in teacher.parameters())


def test_the_teacher_stays_as_it_was() -> None:
    teacher = model("resnet20").train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    ll.shrink(teacher, images(4), params=0.6)
    assert teacher.training
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_the_source_rebuilds_the_student_without_layerlink(tmp_path: Path) -> None:
    shrunk = ll.shrink(model("wrn_16_2"), images(4), params=0.5)
    (tmp_path / "student.py").write_text(shrunk.source)
    (tmp_path / "student.safetensors").write_bytes(weights_of(shrunk.model))
    torch.save(images(4), tmp_path / "images.pt")
    code = (
        "import sys, torch, safetensors.torch, student; model = student.build().eval();"
        "model.load_state_dict(safetensors.torch.load_file('student.safetensors'));"
        "torch.save(model(torch.load('images.pt')).detach(), 'answers.pt'); assert 'layerlink' not in sys.modules"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=120)
    assert torch.allclose(torch.load(tmp_path / "answers.pt"), shrunk.model(images(4)), atol=1e-5)
    assert "layerlink" not in shrunk.source


@pytest.mark.parametrize("batch_norm", [False, True])
def test_new_weights_are_as_large_as_the_networks_own_class_draws_them(batch_norm: bool) -> None:
    given = {"batch_norm": batch_norm, "width": 0.5}
    source = ll.shrink(model("vgg16", **given), images(4), collapse=True, start="copy").source
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    torch.manual_seed(1)
    built, own = namespace["build"](), model("vgg7", **given)
    spreads = [
        [float(it.weight.detach().std()) for it in module.modules() if isinstance(it, nn.Conv2d | nn.Linear)]
        for module in (built, own)
    ]
    convolved = len([it for it in own.modules() if isinstance(it, nn.Conv2d)])
    like = convolved if batch_norm else convolved + 2  # torch's own for linear layers where norms take care of scale
    assert spreads[0][:like] == pytest.approx(spreads[1][:like], rel=0.1)
    biases = [it.bias for it in built.modules() if isinstance(it, nn.Conv2d) and it.bias is not None]
    assert all(not bias.any() for bias in biases)


def test_transformers_lose_layers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32, vocab_size=50
    )
    torch.manual_seed(0)
    teacher = transformers.BertForSequenceClassification(config).eval()
    ids = torch.randint(1, 50, (4, 8))
    shrunk = ll.shrink(teacher, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, params=0.75)
    count = shrunk.kept[0][1]
    assert shrunk.model.config.num_hidden_layers == count < 6
    assert teacher.config.num_hidden_layers == 6
    ends = [
        (it.get_submodule(f"bert.encoder.layer.{place}.output.dense").weight)
        for it, place in ((shrunk.model, count - 1), (teacher, 5))
    ]
    assert torch.equal(*ends)
    assert "from transformers import BertConfig, BertForSequenceClassification" in shrunk.source
    assert (
        shrunk.links[-1]
        == f"bert.encoder.layer.5 -> bert.encoder.layer.{count - 1} : mse, scale=teacher, where=attention_mask"
    )


class Encoder(nn.Module):
    """Of torch's own transformer layers."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, **arguments), 4, enable_nested_tensor=False
        )
        self.head = nn.Linear(16, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.encoder(self.words(words))
        return self.head(encoded.mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "arguments", [{}, {"activation": "gelu", "norm_first": True, "dropout": 0.3, "layer_norm_eps": 1e-3}]
)
def test_torchs_own_transformer_layers_are_written(arguments: dict[str, Any]) -> None:
    words = torch.randint(20, (4, 6))
    shrunk = ll.shrink(Encoder(**arguments).eval(), [words], params=0.53)
    assert shrunk.kept == (("encoder.layers", 2, 4),)
    namespace: dict[str, Any] = {}
    exec(shrunk.source, namespace)
    built = namespace["build"]()
    built.load_state_dict(shrunk.model.state_dict())
    assert torch.equal(built.eval()(words), shrunk.model(words))
    assert built.encoder.layers[0].dropout.p == arguments.get("dropout", 0.1)
    assert shrunk.shares["flops"] == pytest.approx(0.5, abs=0.01)


def test_runs_are_found_by_structure_alone() -> None:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    flat = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 2)).eval()
    [run] = find_runs(flat, run_pass(flat, images(4, 8)))
    assert [unit.paths for unit in run.units] == [("0", "1"), ("2", "3"), ("4", "5")]
    shrunk = ll.shrink(flat, images(4, 8), collapse=True)
    assert [type(it).__name__ for it in shrunk.model] == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "Flatten", "Linear"]


def test_what_cannot_be_done_is_said() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 10))
    with pytest.raises(ll.UsageError, match="nothing to collapse: no layers of one shape follow each other"):
        ll.shrink(plain, images(4, 8), collapse=True)
    with pytest.raises(ll.UsageError, match=r"above 0 and below 1; got 1\.5"):
        ll.shrink(plain, images(4, 8), params=1.5)
    with pytest.raises(ll.UsageError, match="give one of params, flops and latency"):
        ll.shrink(plain, images(4, 8))
    with pytest.raises(ll.UsageError, match=r"cannot be met with fewer layers.*the closest is 1.000"):
        ll.shrink(plain, images(4, 8), params=0.5)


class OwnConvolution(nn.Conv2d):
    """A layer that reads its weight itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)


def test_layers_that_read_their_own_weights_are_written() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [OwnConvolution(4, 4, 3, padding=1), nn.ReLU()]
    layers += [it for _ in range(2) for it in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 3))
    shrunk = ll.shrink(net, torch.randn(4, 4, 8, 8), collapse=True)
    assert [type(it) for it in shrunk.model][:4] == [OwnConvolution, nn.ReLU, nn.Conv2d, nn.ReLU]
    assert "nn.Parameter(torch.zeros((4, 4, 3, 3)))" in shrunk.source


class Odd(nn.Module):
    """A model whose own code cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.blocks(x).detach().numpy()) + len(x)


def test_source_that_cannot_be_written_is_said() -> None:
    with pytest.raises(ll.UsageError, match=r"torch\.fx cannot follow Odd\.forward"):
        ll.shrink(Odd(), torch.randn(4, 4), collapse=True)


class Dropping(nn.Module):
    """Dropout by the module's own flag, given in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.outer(nn.functional.dropout(self.inner(x), 0.5, self.training))


class LeftOut(Dropping):
    """Left out at random while it learns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.rand(()) < 0.5:
            return x * 1
        return x + self.outer(self.inner(x)) * (1 if self.training else 0.5)


def test_what_a_block_does_in_training_stays_or_is_told() -> None:
    found = ll.shrink(nn.Sequential(*[Dropping() for _ in range(4)]), torch.randn(8, 16), params=0.5)
    assert "self.training" in found.source
    assert not found.notes
    names: dict[str, Any] = {}
    exec(found.source, names)
    built = names["build"]()
    assert not torch.equal(built(torch.ones(1, 16)), built(torch.ones(1, 16)))  # it learns with dropout
    built.eval()
    assert torch.equal(built(torch.ones(1, 16)), built(torch.ones(1, 16)))


@pytest.mark.parametrize("seed", range(4))
def test_a_block_that_is_left_out_at_random_is_told_whatever_was_drawn(seed: int) -> None:
    torch.manual_seed(seed)
    found = ll.shrink(nn.Sequential(*[LeftOut() for _ in range(4)]), torch.randn(8, 16), params=0.5)
    assert "# In training the original does something else here" in found.source
    assert any("in training alone" in note for note in found.notes)
