"""Losses of tokens: padding changes nothing, however much there is of it and whatever it holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import (
    LOSSES,
    ShapeError,
    TinyBERT,
    attention_kl,
    attention_mse,
    hidden_mse,
    minilm,
    minilmv2,
    mse,
    pkd,
    uld,
)
from loss_cases import CASES, LossCase, Side

OF_TOKENS = [case for case in CASES if case.masked is not None and len(case.masked) == 1 and case.student[0][0] == 7]
ATTENTION = [
    LossCase(case.name, case.student, case.teacher, None, case.options, masked=(7,))
    for case in CASES
    if case.name.startswith("attention")
]


def padded(side: Side, extra: int) -> Side:
    """With so many tokens of junk at the end of each sequence."""

    def longer(values: Tensor) -> Tensor:
        if values.ndim == 4:
            return torch.nn.functional.pad(values, (0, extra, 0, extra), value=37.0)
        return torch.nn.functional.pad(values, (0, 0, 0, extra), value=-11.0)

    found: Side = torch.utils._pytree.tree_map(longer, side)
    return found


@pytest.mark.parametrize("case", [*OF_TOKENS, *ATTENTION], ids=str)
def test_more_padding_changes_nothing(case: LossCase) -> None:
    loss = case.build()
    student, teacher = case.pair()
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[1, 4:] = mask[3, 2:] = False
    value = loss(student, teacher, **case.context(5, mask)).detach()
    longer = torch.nn.functional.pad(mask, (0, 4))
    found = loss(padded(student, 4), padded(teacher, 4), **case.context(5, longer)).detach()
    assert float(found) == pytest.approx(float(value), rel=1e-12)
    cut = [
        torch.utils._pytree.tree_map(lambda x: x[3:4, ..., :2, :2] if x.ndim == 4 else x[3:4, :2], side)
        for side in (student, teacher)
    ]
    one = loss(
        *(torch.utils._pytree.tree_map(lambda x: x[3:4], side) for side in (student, teacher)),
        **case.context(1, mask[3:4]),
    ).detach()
    assert float(loss(*cut, **case.context(1)).detach()) == pytest.approx(float(one), rel=1e-12)


@pytest.mark.parametrize("loss", [attention_mse, attention_kl])
def test_a_mask_of_tokens_is_that_of_their_pairs(loss: Any) -> None:
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    tokens = torch.tensor([[True, True, False, True], [True, False, False, False]])
    both = tokens[:, :, None] & tokens[:, None]
    assert torch.equal(loss(student, teacher, mask=tokens), loss(student, teacher, mask=both))
    for wrong in (tokens[:, :3], tokens[:1], tokens.long(), both[:, :, :3], both[:, None]):
        with pytest.raises(ShapeError, match=r"needs a bool mask \(2, 4\) of tokens, or \(2, 4, 4\)"):
            loss(student, teacher, mask=wrong)


@pytest.mark.parametrize("given", [{}, {"given": "probabilities"}])
def test_causal_attention_is_compared_where_it_is(given: dict[str, Any]) -> None:
    scores = [torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1)]
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    own, other = (side.masked_fill(~causal, float("-inf")) for side in scores)
    if given:
        own, other = own.softmax(-1), other.softmax(-1)
    own = own.requires_grad_()
    value = attention_kl(own, other, **given)
    value.backward()
    expected = attention_kl(*scores, mask=causal.expand(2, 4, 4))
    assert float(value.detach()) == pytest.approx(float(expected), rel=1e-6)
    assert own.grad is not None
    assert bool(own.grad.isfinite().all())


def test_scores_of_nothing_count_as_0_in_attention_mse() -> None:
    scores = torch.tensor([[[[1.0, float("-inf")], [2.0, -1e4]]]], requires_grad=True)
    value = attention_mse(scores, torch.zeros(1, 1, 2, 2))
    value.backward()
    assert float(value.detach()) == (1 + 4) / 4
    assert scores.grad is not None
    assert scores.grad.tolist() == [[[[0.5, 0.0], [1.0, 0.0]]]]
    assert float(attention_mse(torch.full((1, 1, 1, 1), -200.0), torch.zeros(1, 1, 1, 1), floor=None)) == 4e4
    assert bool(attention_mse(torch.full((1, 1, 1, 1), float("nan")), torch.zeros(1, 1, 1, 1)).isnan())


def test_probabilities_and_scores_are_the_same_attention() -> None:
    student, teacher = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 4, 4).double()
    expected = float(attention_kl(student, teacher))
    found = attention_kl(student.softmax(-1), teacher.softmax(-1), given="probabilities")
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_minilmv2_is_the_mean_of_minilm_over_its_taps() -> None:
    sides = [tuple(torch.randn(2, 5, width).double() for _ in range(3)) for width in (6, 8)]
    expected = sum(float(minilm(a, b, heads=2)) for a, b in zip(*sides, strict=True)) / 3
    assert float(minilmv2(*sides, heads=2)) == pytest.approx(expected)
    fused = [(torch.cat(side, dim=2),) for side in sides]
    assert float(minilmv2(*fused, heads=2, parts=3)) == pytest.approx(expected)
    assert LOSSES["minilmv2"].taps is None


def test_pkd_of_the_first_token_is_that_of_the_first_tokens() -> None:
    student, teacher = torch.randn(3, 4, 5).double(), torch.randn(3, 4, 5).double()
    assert float(pkd(student, teacher)) == pytest.approx(float(pkd(student[:, 0], teacher[:, 0])))
    total = pkd(student, teacher, reduction="sum", tokens="all")
    assert float(total) == pytest.approx(5 * float(pkd(student, teacher, tokens="all")))
    assert float(pkd(-student, student, reduction="sum")) == pytest.approx(4)
    mask = torch.tensor([[True] * 4, [False, True, True, True], [True] * 4])
    kept = torch.tensor([0, 2])
    assert float(pkd(student, teacher, mask=mask)) == pytest.approx(float(pkd(student[kept], teacher[kept])))


def test_uld_does_not_see_words_and_pads_the_smaller_vocabulary() -> None:
    student, teacher = torch.randn(3, 4, 5).double(), torch.randn(3, 4, 5).double()
    assert float(uld(student.flip(2), teacher)) == pytest.approx(float(uld(student, teacher)))
    more = torch.cat([teacher, torch.full((3, 4, 2), -1e4).double()], dim=2)
    assert float(uld(student, more)) == pytest.approx(float(uld(student, teacher)))
    assert float(uld(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1e4, 0.0]]))) == pytest.approx(1)


def test_hidden_mse_is_mse_of_sequences_alone() -> None:
    student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.equal(hidden_mse(student, teacher), mse(student, teacher))
    with pytest.raises(ShapeError, match=r"hidden_mse needs \(N, L, D\) of the same tokens"):
        hidden_mse(student[:, 0], teacher[:, 0])
    with pytest.raises(ShapeError, match="hidden_mse needs equal shapes"):
        hidden_mse(student, teacher[:, :, :3])


def test_tinybert_is_its_two_parts() -> None:
    torch.manual_seed(0)
    student = (torch.randn(2, 3, 4).double(), torch.randn(2, 5, 3, 3).double())
    teacher = (torch.randn(2, 3, 6).double(), torch.randn(2, 5, 3, 3).double())
    loss = TinyBERT([side.shape for side in student], [side.shape for side in teacher], attention=0.5).double()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    expected = mse(loss.project(student[0]), teacher[0], mask=mask)
    expected = expected + 0.5 * attention_mse(student[1], teacher[1], mask=mask)
    assert float(loss(student, teacher, mask=mask).detach()) == pytest.approx(float(expected.detach()))
    assert {name for name, _ in loss.named_parameters()} == {"project.weight", "project.bias"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: attention_kl(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), given="logits"), "attention_kl: given"),  # type: ignore[arg-type]
        (
            lambda: attention_kl(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)),
            r"needs maps of attention \(N, heads, L, L\)",
        ),
        (lambda: attention_mse(torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2)), "attention_mse needs equal shapes"),
        (lambda: minilmv2((), ()), "minilmv2 needs as many taps on both sides"),
        (lambda: minilmv2((torch.zeros(1, 2, 4),), (torch.zeros(1, 2, 6),), heads=4), "heads must divide both widths"),
        (lambda: minilmv2((torch.zeros(1, 2, 4),), (torch.zeros(1, 2, 4),), parts=3), "parts must divide the width"),
        (lambda: minilmv2((torch.zeros(1, 2, 4),), (torch.zeros(1, 2, 4),), heads=0), "heads and parts must be >= 1"),
        (lambda: pkd(torch.zeros(1, 2), torch.zeros(1, 2), tokens="last"), "pkd: tokens must be 'first' or 'all'"),  # type: ignore[arg-type]
        (lambda: TinyBERT([(2, 3, 4)], [(2, 3, 4)]), r"tinybert needs two taps a side, hidden states"),
        (
            lambda: TinyBERT([(2, 3, 4), (2, 1, 3, 3)], [(2, 3, 4), (2, 1, 3, 3)], attention=-1.0),
            "attention must be >= 0",
        ),
        (lambda: uld(torch.zeros(1, 2, 3), torch.zeros(1, 4, 3)), "uld needs logits .* of the same tokens"),
        (lambda: uld(torch.zeros(1, 3), torch.zeros(1, 1)), "uld needs logits of two classes or more"),
        (lambda: uld(torch.zeros(1, 3), torch.zeros(1, 3), temperature=0.0), "uld: temperature must be > 0"),
    ],
)
def test_what_is_impossible_is_answered(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


class Half:
    """Another process has the rest of the batch."""

    def __init__(self, share: float, counted: Tensor) -> None:
        self.share, self.counted = share, counted

    def sum(self, values: Tensor) -> Tensor:
        return self.counted.to(values)

    def gather(self, values: Tensor) -> Tensor:
        raise AssertionError


@pytest.mark.parametrize("case", [*(c for c in OF_TOKENS if c.name != "tinybert"), *ATTENTION], ids=str)
@pytest.mark.parametrize("pairs", [False, True])
def test_parts_of_a_batch_with_masks_sum_to_the_whole(case: LossCase, pairs: bool) -> None:
    """As processes weigh them: by what the mean is over, also where ``where=`` makes pairs of a mask of tokens."""
    from layerlink.losses import Context
    from layerlink.transfer.link_part import LinkPart

    if pairs and not case.name.startswith("attention"):
        return
    part = LinkPart(case.kind, case.name, case.build())
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[1, 4:] = mask[3, 2:] = mask[0, 0] = False
    given = mask[:, :, None] & mask[:, None] if pairs else mask
    student, teacher = (side if isinstance(side, tuple) else (side,) for side in case.pair())
    whole = part(student, teacher, Context(mask=given))
    counted, total = case.kind.counted(given, **case.options).sum(), 0.0
    for rows in (slice(0, 2), slice(2, 5)):
        share = (rows.stop - rows.start) / 5
        part.across = Half(share, counted)
        here = part(*(tuple(x[rows] for x in side) for side in (student, teacher)), Context(mask=given[rows]))
        total += share * part.share * float(here.detach())
    assert total == pytest.approx(float(whole.detach()))
