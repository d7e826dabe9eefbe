from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cases import cases
from layerlink.errors import ProblemsError, UsageError
from layerlink.losses import ShapeError
from layerlink.transfer import Distiller, Link
from layerlink.transfer.masks import fitted, input_mask, mask_of

MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("inputs", "where", "expected"),
    [
        ({"x": MASK.float(), "attention_mask": MASK}, "attention_mask", MASK == 1),
        ({"x": MASK.float(), "attention_mask": MASK.bool()}, "not attention_mask", MASK == 0),
        ({"batch": {"attention_mask": MASK.double()}}, "[batch][attention_mask]", MASK == 1),
        ((MASK.float(), MASK), "[1]", MASK == 1),
        ((MASK.float(), MASK), "not 1", MASK == 0),
        (MASK, "0", MASK == 1),
    ],
)
def test_a_mask_is_an_element_of_the_inputs(inputs: Any, where: str, expected: Tensor) -> None:
    found = input_mask(inputs, where)
    assert found.dtype == torch.bool
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("inputs", "where", "message"),
    [
        ({"x": MASK}, "attention_mask", "where=attention_mask: inputs has no element 'attention_mask'; it gives"),
        ({"m": (1 - MASK) * -1e9}, "m", "a mask holds true and false, or 1 and 0; got torch.float32 from -1e+09 to"),
        ({"m": "text"}, "m", "where=m: inputs[m] gives a str"),
        ({"m": MASK}, "m n", "where=m n: inputs has no element 'm n'"),
        ({"m": MASK}, "m]", "is not a layer's name"),
    ],
)
def test_what_is_no_mask_is_told(inputs: Any, where: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        input_mask(inputs, where)
    assert message in str(caught.value)


def test_a_mask_stands_at_the_activations_positions() -> None:
    tokens = MASK.bool()
    assert torch.equal(fitted(tokens, torch.zeros(2, 3, 8)), tokens)
    attention = fitted(tokens, torch.zeros(2, 4, 3, 3))
    for n in range(2):
        assert torch.equal(attention[n], tokens[n][:, None] & tokens[n][None])
    assert torch.equal(fitted(torch.tensor([True, False]), torch.zeros(2, 5)), torch.tensor([True, False]))
    images = torch.zeros(1, 4, 4, dtype=torch.bool)
    images[:, :2, 2:] = True
    assert fitted(images, torch.zeros(1, 7, 2, 2)).tolist() == [[[False, True], [False, False]]]
    assert fitted(torch.tensor([[True, False]]), torch.zeros(1, 4, 8)).tolist() == [[True, True, False, False]]
    assert fitted(torch.tensor([True, False]), torch.zeros(2, 3, 1, 2)).tolist() == [[[True, True]], [[False, False]]]


@pytest.mark.parametrize(
    ("mask", "like"), [((3, 4), (2, 4, 8)), ((2, 4, 4), (2, 5)), ((2, 4, 4, 4), (2, 3, 4, 4)), ((), (2, 3))]
)
def test_a_mask_of_other_places_is_refused(mask: tuple[int, ...], like: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        fitted(torch.ones(mask, dtype=torch.bool), torch.zeros(like))


def test_masks_of_link_teacher_and_caller_are_combined_by_and() -> None:
    link = Link.parse("a : mse, where=m, teacher_where=not t")
    inputs = {"m": torch.tensor([[1, 1, 0, 1]]), "t": torch.tensor([[0, 1, 0, 0]])}
    given_mask = torch.tensor([[True, True, True, False]])
    found = mask_of(link, inputs, torch.zeros(1, 4, 2), given_mask)
    assert found is not None
    assert found.tolist() == [[True, False, False, False]]
    assert mask_of(Link.parse("a : mse"), inputs, torch.zeros(1, 4, 2), None) is None


class Reader(nn.Module):
    """Reads tokens without looking at its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.mix(self.words(ids)).mean(1)


class Attending(Reader):
    """Asks its neighbours; its scores know nothing of the mask, its probabilities do."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.scores, self.shares = (
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.Identity(),
            nn.Identity(),
        )

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.mix(self.words(ids))
        queries, keys = (layer(states).unflatten(2, (2, 4)).transpose(1, 2) for layer in (self.queries, self.keys))
        scores = self.scores(queries @ keys.transpose(2, 3))
        shares = self.shares(scores.masked_fill(attention_mask[:, None, None] == 0, -1e4).softmax(-1))
        return (shares.mean(1) @ states).mean(1)


def losses_and_gradient(
    padding: int, links: list[str], hard: float = 0.0, reader: type[Reader] = Reader
) -> tuple[dict[str, float], Tensor]:
    torch.manual_seed(0)
    teacher, student = reader(), reader()
    inputs = {"ids": torch.tensor([[3, 4, padding], [5, padding, padding]]), "attention_mask": MASK}
    losses = Distiller(teacher, student, hard=hard, links=links, example=inputs)(inputs)
    losses.total.backward()
    gradient = student.mix.weight.grad
    assert gradient is not None
    return {name: float(term.detach()) for name, term in losses.terms.items()}, gradient


LINKS = [
    "mix : mse, where=attention_mask",
    "mix : cosine, where=attention_mask",
    "mix : minilm(heads=2), where=attention_mask",
    "mix : hidden_mse, where=attention_mask",
    "mix : pkd, where=attention_mask",
    "mix : pkd(tokens=all), where=attention_mask",
    "mix : uld, where=attention_mask",
]


def test_what_stands_in_the_padding_changes_no_loss_and_no_gradient() -> None:
    first, second = (losses_and_gradient(padding, LINKS) for padding in (0, 17))
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])
    unmasked = [losses_and_gradient(padding, ["mix : mse"])[0] for padding in (0, 17)]
    assert unmasked[0] != unmasked[1]


OF_ATTENTION = [
    "scores : attention_mse, where=attention_mask",
    "scores : attention_kl, where=attention_mask",
    "shares : attention_mse, where=attention_mask",
    "shares : attention_kl(given=probabilities), where=attention_mask",
    "queries + keys + mix : minilmv2(heads=2), where=attention_mask",
    "mix + scores : tinybert, where=attention_mask",
]


@pytest.mark.parametrize("link", OF_ATTENTION)
def test_what_stands_in_the_padding_changes_no_loss_of_attention(link: str) -> None:
    first, second = (losses_and_gradient(padding, [link], reader=Attending) for padding in (0, 17))
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])
    assert float(first[1].abs().sum()) > 0
    plain = link.replace(", where=attention_mask", "")
    first, second = (losses_and_gradient(padding, [plain], reader=Attending) for padding in (0, 17))
    assert first[0] != second[0]


def test_an_inverted_mask_looks_at_the_padding_alone() -> None:
    inverted = [text.replace("where=", "where=not ") for text in LINKS[:2]]  # equal words have equal relations
    first, second = (losses_and_gradient(padding, inverted)[0] for padding in (0, 17))
    assert all(first[name] != second[name] for name in first)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.float32])
def test_a_callers_mask_may_be_of_1_and_0(kind: torch.dtype) -> None:
    """As tokenizers give it."""
    torch.manual_seed(0)
    teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    x, mask = torch.randn(2, 5, 4), torch.arange(5).expand(2, 5) < 3
    distiller = Distiller(teacher, student, hard=0, links=["@output : mse"], task="sequence-labelling")
    losses = distiller(x, mask=mask.to(kind))
    expected = (student(x) - teacher(x))[:, :3].square().mean()
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    with pytest.raises(UsageError, match=r"mask: a mask holds true and false, or 1 and 0; got torch.float32 from -1"):
        distiller(x, mask=mask.float() - 1)


def test_a_loss_that_takes_no_mask_says_so() -> None:
    with pytest.raises(UsageError, match="sp takes no mask: leave out where="):
        losses_and_gradient(0, ["mix : sp, where=attention_mask"])
    distiller = Distiller(Reader(), Reader(), hard=0, links=["mix : sp"])
    with pytest.raises((UsageError, ProblemsError), match="sp takes no mask"):
        distiller({"ids": torch.zeros(2, 3, dtype=torch.int64), "attention_mask": MASK}, mask=MASK.bool())


SHAPES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@given(SHAPES, SHAPES)
@cases(2)
def test_any_mask_fits_or_a_sentence_says_why_not(mask: tuple[int, ...], like: tuple[int, ...]) -> None:
    values = torch.zeros((2, *like))
    try:
        found = fitted(torch.ones((2, *mask), dtype=torch.bool), values)
    except UsageError as error:
        assert "mask" in str(error)
        return
    assert found.dtype == torch.bool
    assert len(found) == 2
    assert bool(found.all())


def test_a_class_token_that_the_adapter_drops_needs_no_place_in_the_mask() -> None:
    class Tokens(nn.Module):
        def __init__(self, extra: int) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)
            self.extra = extra

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.mix(torch.cat([x[:, : self.extra], x], dim=1)).mean(1)

    torch.manual_seed(0)
    teacher, student = Tokens(1), Tokens(0)
    x, mask = torch.randn(2, 3, 4), torch.tensor([[1, 1, 0], [1, 0, 0]])
    inputs = {"x": x, "mask": mask}
    link = "mix : mse, adapter=tokens, where=mask"
    distiller = Distiller(teacher, student, hard=0, links=[link], example=inputs)
    expected = (student.mix(x) - teacher.mix(x))[mask.bool()].square().mean()
    assert float(distiller(inputs).terms[link].detach()) == pytest.approx(float(expected.detach()))
