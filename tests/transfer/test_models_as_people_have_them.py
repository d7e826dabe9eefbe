"""Models and loops as people have them: compiled, checkpointed, scaled, accumulated, with layers left out at random."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from layerlink.errors import ProblemsError
from layerlink.transfer import Distiller, Link
from versions import whole_modules

LINKS = ["body : mse * 2, adapter=linear", "@output : kd * 0.5"]


class Net(nn.Module):
    def __init__(self, width: int, again: bool = False) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(4, width), nn.Linear(width, width), nn.Linear(width, 3)
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y: Tensor = checkpoint(self.body, x, use_reentrant=False) if self.again else self.body(x)
        return self.head(y.relu())


def pair(again: bool = False) -> tuple[Net, Net, Tensor, Tensor]:
    torch.manual_seed(0)
    teacher, student = Net(8), Net(5, again)
    return teacher, student, torch.randn(6, 4), torch.arange(6) % 3


def gradients(distiller: Distiller) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in distiller.trainable_parameters() if parameter.grad is not None]


def distilled(teacher: nn.Module, student: nn.Module, x: Tensor) -> Distiller:
    torch.manual_seed(1)
    return Distiller(teacher, student, links=LINKS, example=x[:2])


def one_step(again: bool = False, compiled: bool = False) -> tuple[float, list[Tensor]]:
    teacher, student, x, y = pair(again)
    models: list[nn.Module] = [teacher, student]
    if compiled:
        models = [torch.compile(model, backend="eager") for model in models]  # type: ignore[misc]
    distiller = distilled(*models, x)
    losses = distiller(x, y)
    losses.total.backward()
    return float(losses.total.detach()), gradients(distiller)


def test_a_checkpointed_layer_teaches_as_a_plain_one() -> None:
    plain, again = one_step(), one_step(again=True)
    assert again[0] == plain[0]
    assert len(plain[1]) == 8
    assert all(torch.allclose(a, b) for a, b in zip(plain[1], again[1], strict=True))


def test_compiled_models_teach_and_learn_as_plain_ones() -> None:
    plain, compiled = one_step(), one_step(compiled=True)
    assert compiled[0] == pytest.approx(plain[0])
    assert all(torch.allclose(a, b) for a, b in zip(plain[1], compiled[1], strict=True))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler's own
@pytest.mark.parametrize("how", ["the block", "in place", "inside of it"])
def test_a_compiled_block_is_read_at_its_end_and_inside(how: str) -> None:
    teacher, student, x, y = pair()
    links = ["body : mse, adapter=linear"] if how != "inside of it" else ["body.0 : mse, adapter=linear"]
    for model in (teacher, student):
        model.body = nn.Sequential(model.body, nn.Tanh())  # type: ignore[assignment]
    torch.manual_seed(1)
    expected = Distiller(copy.deepcopy(teacher), copy.deepcopy(student), links=links, example=x)(x, y)
    for model in (teacher, student):
        if how == "in place":
            model.body.compile(backend="eager")
        else:
            model.body = torch.compile(model.body, backend="eager")  # type: ignore[assignment]
        model(x)  # compiled before any hook is there
    torch.manual_seed(1)
    found = Distiller(teacher, student, links=links, example=x)(x, y)
    assert [float(value.detach()) for value in found.terms.values()] == pytest.approx(
        [float(value.detach()) for value in expected.terms.values()]
    )


def test_a_scaler_scales_what_links_train_too() -> None:
    teacher, student, x, y = pair()
    distiller = distilled(teacher, student, x)
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in distiller.link_parameters()]
    reference = one_step()[1]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(distiller(x, y).total).backward()
    scaler.unscale_(optimizer)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients(distiller), reference, strict=True))
    scaler.step(optimizer)
    assert all(not torch.equal(a, b) for a, b in zip(before, distiller.link_parameters(), strict=True))


def test_parts_of_a_batch_accumulate_to_the_whole() -> None:
    teacher, student, x, y = pair()
    distiller = distilled(teacher, student, x)
    for part in (slice(0, 2), slice(2, 6)):
        share = (part.stop - part.start) / 6
        (distiller(x[part], y[part]).total * share).backward()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients(distiller), one_step()[1], strict=True))


class Skipping(nn.Module):
    """Leaves its second layer out as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.skips = iter([True, False, True, False])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if not (self.training and next(self.skips)):
            x = self.second(x)
        return self.head(x)


def test_a_layer_that_is_skipped_leaves_its_term_out_of_that_step() -> None:
    torch.manual_seed(0)
    links = ["first : mse", "second : mse * 3"]
    distiller = Distiller(Skipping().eval(), Skipping(), links=links)
    x, y = torch.randn(5, 4), torch.arange(5) % 3
    named = []
    for _ in range(4):
        losses = distiller(x, y)
        named.append([*losses.terms])
        assert losses.weights.keys() == losses.terms.keys()
        losses.total.backward()
    assert named == [["hard", "first : mse"], ["hard", *links], ["hard", "first : mse"], ["hard", *links]]


def test_a_layer_that_never_runs_is_an_error_all_the_same() -> None:
    student = Skipping()
    student.unused = nn.Linear(2, 2)
    teacher = copy.deepcopy(student).eval()
    with pytest.raises(ProblemsError, match="the student's layer 'unused' never runs in a forward pass"):
        Distiller(teacher, student, links=["unused : mse"])(torch.randn(5, 4), torch.arange(5) % 3)


def encoder(width: int = 8) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.TransformerEncoder(layer, 2)


def test_a_frozen_encoder_with_a_padding_mask_gives_whole_sequences() -> None:
    """torch would pack the teacher's sequences into nested tensors without padding."""
    torch.manual_seed(0)
    teacher, student = encoder().eval(), encoder()
    x = torch.randn(2, 5, 8)
    padding = torch.tensor([[False, False, False, True, True], [False, False, True, True, True]])
    inputs = {"src": x, "src_key_padding_mask": padding}
    link = "layers.0 : mse, where=not src_key_padding_mask"
    distiller = Distiller(teacher, student, hard=0, links=[link])
    losses = distiller(inputs)
    losses.total.backward()
    assert bool(losses.total.isfinite())
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():  # in train mode nothing is fused, and without dropout it is the same
        own, other = (model.train().layers[0](x, src_key_padding_mask=padding) for model in (student, teacher))
    expected = (own - other)[~padding].square().mean()
    assert float(losses.total.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_attention_that_is_fused_says_so_where_its_maps_are_wanted() -> None:
    links = [Link.parse("layers.0.self_attn[1] : mse")]
    with pytest.raises(ProblemsError, match=r"layers.0.self_attn\[1\] is None: attention that is fused gives no maps"):
        Distiller(encoder().eval(), encoder(), hard=0, links=links)(torch.randn(2, 5, 8))


@whole_modules
def test_a_whole_distiller_is_compiled() -> None:
    teacher, student, x, y = pair()
    student = Net(8)
    plain = Distiller(copy.deepcopy(teacher), copy.deepcopy(student), links=["body : mse"])
    expected = float(copy.deepcopy(plain)(x, y).total.detach())
    compiled = torch.compile(plain, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler looks at gradients of its own tensors
        losses = compiled(x, y)
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-6)
