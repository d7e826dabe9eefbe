"""Transformers as people write them in files of their own: followed, shortened, written as source."""

# ruff: noqa: N806 - B, T, C are what people call their sizes

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import layerlink as ll
from layerlink.measure.flops import count_parameters

VOCABULARY, LONGEST, WIDTH = 40, 16, 16
BLOCK = 2 * 16 + (48 * 16 + 48) + (16 * 16 + 16) + (32 * 16 + 32) + (16 * 32 + 16)  # parameters of one of the GPT's


def words(examples: int = 4, length: int = 8) -> Tensor:
    return torch.randint(VOCABULARY, (examples, length), generator=torch.Generator().manual_seed(length))


@dataclass(frozen=True)
class Config:
    """Of the first model."""

    n_layer: int = 5
    n_head: int = 2
    dropout: float = 0.1
    fused: bool = False


class Norm(nn.Module):
    """A layer norm whose bias can be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH) + 0.5)
        self.bias = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as people name it
        return F.layer_norm(input, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    """Causal, by a mask that is kept, or by torch's fused kernel."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.joint, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.heads, self.dropout, self.fused = config.n_head, config.dropout, config.fused
        self.left_out = nn.Dropout(config.dropout)
        mask = torch.tril(torch.ones(LONGEST, LONGEST)).view(1, 1, LONGEST, LONGEST)
        self.register_buffer("mask", mask, persistent=config.fused)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.joint(x).split(WIDTH, dim=2)
        q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        if self.fused:
            dropout = self.dropout if self.training else 0
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=dropout, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
            y = self.left_out(F.softmax(scores, dim=-1)) @ v
        return self.out(y.transpose(1, 2).contiguous().view(B, T, C))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Norms before, sums after."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.first, self.second, self.attention = Norm(), Norm(), Attention(config)
        self.mlp = nn.ModuleDict({"up": nn.Linear(WIDTH, 32), "act": nn.GELU(), "down": nn.Linear(32, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        mlp: Any = self.mlp
        return x + mlp.down(mlp.act(mlp.up(self.second(x))))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """Positions are learned; the output layer's weight is that of the words."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(VOCABULARY, WIDTH),
                "wpe": nn.Embedding(LONGEST, WIDTH),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "last": Norm(),
            }
        )
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.transformer.wte.weight = self.lm_head.weight  # type: ignore[union-attr]

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        _, T = idx.size()
        assert T <= LONGEST, f"at most {LONGEST} words, not {T}"
        parts: Any = self.transformer
        x = parts.drop(parts.wte(idx) + parts.wpe(torch.arange(T, dtype=torch.long, device=idx.device)))
        for place in range(self.config.n_layer):
            x = parts.h[place](x)
        logits = self.lm_head(parts.last(x))
        return logits, None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Turned(nn.Module):
    """Attention with rotary positions, a mask that is made each time, and padding."""

    def __init__(self) -> None:
        super().__init__()
        self.joint, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.register_buffer("speeds", 100.0 ** (-torch.arange(4) / 4), persistent=False)

    def turn(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(x.size(-2), device=x.device).type_as(self.speeds), self.speeds)
        angles = torch.cat((angles, angles), dim=-1)
        one, other = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat((-other, one), dim=-1) * angles.sin()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        T, C = x.shape[1:]
        size = int(C / 2)
        q, k, v = (it.reshape(*x.shape[:-1], 2, size).transpose(1, 2) for it in self.joint(x).chunk(3, -1))
        scores = torch.einsum("bhid,bhjd->bhij", self.turn(q), self.turn(k)) / math.sqrt(size)
        scores = scores + torch.triu(torch.full((T, T), float("-inf"), device=x.device), diagonal=1)
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, None, :] == 0, torch.finfo(scores.dtype).min)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Gated(nn.Module):
    """A block with a norm by the root of the mean square and a gated layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH) + 0.5)
        self.attention = Turned()
        self.up, self.gate, self.down = nn.Linear(WIDTH, 32), nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

    def normed(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.normed(x), mask=mask)
        y = self.normed(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))  # type: ignore[no-any-return]


class Rotary(nn.Module):
    """Goes through its layers by number; its output layer is the words' own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.n_layers = 6
        self.start = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Gated() for _ in range(6))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.words(input_ids) + self.start.expand(len(input_ids), -1, -1)
        for place in range(self.n_layers):
            x = self.layers[place](x, attention_mask)
        return F.linear(x, self.words.weight)


class Held(nn.Module):
    """Its parts are called from outside, and one of them never."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.drop, self.unused = nn.Embedding(VOCABULARY, WIDTH), nn.Dropout(0.1), Norm()

    def embed(self, given: Tensor) -> Tensor:
        return self.drop(self.words(given))  # type: ignore[no-any-return]


class Holding(nn.Module):
    """Calls a method of a part, not the part."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.layers = Held(), nn.ModuleList(Gated() for _ in range(4))

    def forward(self, given: Tensor) -> Tensor:
        x = self.held.embed(given)
        for layer in self.layers:
            x = layer(x)
        return x


def built(source: str, weights: nn.Module) -> nn.Module:
    names: dict[str, Any] = {}
    exec(source, names)
    model: nn.Module = names["build"]()
    model.load_state_dict(weights.state_dict())
    return model.eval()


@pytest.mark.parametrize("fused", [False, True])
def test_a_gpt_answers_as_with_its_layers_skipped_by_hand(fused: bool) -> None:
    torch.manual_seed(0)
    teacher = GPT(Config(fused=fused)).eval()
    shrunk = ll.shrink(teacher, [words()], flops=0.62)
    assert shrunk.kept == (("transformer.h", 3, 5),)
    assert not shrunk.notes
    student = built(shrunk.source, shrunk.model)
    tied = student.get_submodule("transformer.wte").weight
    assert student.get_submodule("lm_head").weight is tied is student.get_parameter("lm_head.weight")
    assert count_parameters(student) == shrunk.counts["params"][1] == count_parameters(teacher) - 2 * BLOCK

    class Skipping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    for place in (1, 3):
        teacher.transformer.h[place] = Skipping()  # type: ignore[union-attr, index]
    for given in (words(), words(3, 11), words(1, LONGEST)):
        assert torch.equal(student(given)[0], teacher(given)[0])


def test_a_rotary_model_with_padding_answers_as_with_its_layers_skipped_by_hand() -> None:
    torch.manual_seed(0)
    teacher = Rotary().eval()
    given = {"input_ids": words(), "attention_mask": (torch.arange(8) < torch.tensor([[8], [5], [7], [1]])).long()}
    shrunk = ll.shrink(teacher, [given], flops=0.5)
    assert shrunk.kept == (("layers", 3, 6),)
    assert not shrunk.notes
    student = built(shrunk.source, shrunk.model)
    teacher.n_layers = 3
    teacher.layers = nn.ModuleList(teacher.layers[place] for place in (0, 2, 5))
    longer = {"input_ids": words(3, 12), "attention_mask": torch.ones(3, 12)}
    for inputs in (given, longer):
        assert torch.equal(student(**inputs), teacher(**inputs))


def test_with_no_layer_left_out_the_source_answers_as_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = GPT(Config()).eval()
    shrunk = ll.shrink(teacher, [words()], flops=0.99)
    assert shrunk.kept == (("transformer.h", 5, 5),)
    assert torch.equal(built(shrunk.source, teacher)(words(2, 9))[0], teacher(words(2, 9))[0])


def test_parts_that_are_called_from_outside_or_never_are_kept() -> None:
    torch.manual_seed(0)
    shrunk = ll.shrink(Holding().eval(), [words()], flops=0.5)
    assert torch.equal(built(shrunk.source, shrunk.model)(words(3, 5)), shrunk.model(words(3, 5)))
    assert "class Held(nn.Module):" in shrunk.source


def test_new_weights_give_a_model_that_can_learn() -> None:
    names: dict[str, Any] = {}
    exec(ll.shrink(GPT(Config()).eval(), [words()], flops=0.62).source, names)
    torch.manual_seed(0)
    model = names["build"]()
    F.cross_entropy(model(words())[0].flatten(0, 1), words().flatten()).backward()
    assert all(bool(it.grad.any()) for name, it in model.named_parameters() if "joint.bias" not in name)


def test_dropout_inside_of_attention_stays_for_training() -> None:
    source = ll.shrink(GPT(Config(fused=True)).eval(), [words()], flops=0.62).source
    assert "dropout_p=(0.1 if self.training else 0)" in source
    assert "persistent=False" not in source


class Deciding(Rotary):
    """Decides by the values of a tensor, in one of three ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        assert attention_mask is not None
        if (self.way == "branch" and attention_mask.all()) or (self.way == "item" and attention_mask.sum().item() > 3):
            attention_mask = None
        elif self.way == "size":
            input_ids = input_ids[:, : int(attention_mask.sum(1).max())]
        return super().forward(input_ids, attention_mask)


@pytest.mark.parametrize("way", ["branch", "item", "size"])
def test_a_model_that_decides_by_values_is_told(way: str) -> None:
    given = {"input_ids": words(), "attention_mask": torch.ones(4, 8)}
    told = r"^Deciding\.forward decides by the values of a tensor in line \d+ of test_hand_written\.py, .*torch\.where"
    with pytest.raises(ll.UsageError, match=told):
        ll.shrink(Deciding(way).eval(), [given], flops=0.5)


class Plain(Rotary):
    """Makes plain numbers of its sizes."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        more = sum(int(it) for it in [input_ids.shape[self.place]])
        x = super().forward(input_ids, attention_mask)
        return x.reshape(more, -1, VOCABULARY) if self.place == 0 else x.reshape(-1, more, VOCABULARY)


def test_sizes_that_the_source_cannot_keep_open_are_told() -> None:
    with pytest.raises(ll.UsageError, match=r"as many examples as were given alone.*x\.shape\[0\]"):
        ll.shrink(Plain(0).eval(), [words()], flops=0.5)
    assert ll.shrink(Plain(1).eval(), [words()], flops=0.5).notes == (
        "its source takes sequences of the examples' length alone: forward makes a plain number of it",
    )
