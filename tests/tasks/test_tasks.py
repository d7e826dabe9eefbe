"""Every task: its losses by another route, what counts, what its numbers are, what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, jaccard_score
from torch import Tensor, nn
from torch.nn import functional as F

import layerlink as ll
from cases import cases
from layerlink.errors import UsageError
from layerlink.losses import ShapeError
from layerlink.tasks import TASKS, Score, Softening, Task, as_task


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


CASES: dict[str, tuple[Task, Tensor, Tensor]] = {
    "classification": (ll.Classification(), draw(6, 4), whole(4, 6)),
    "classification, some without": (
        ll.Classification(unlabelled=-1),
        draw(6, 4),
        torch.tensor([0, -1, 3, 2, -1, 1]),
    ),
    "multi-label": (ll.MultiLabel(), draw(6, 3), whole(2, 6, 3)),
    "multi-label, some unknown": (ll.MultiLabel(unlabelled=-1), draw(6, 3), whole(3, 6, 3) - 1),
    "one yes or no": (ll.MultiLabel(), draw(6, 1), whole(2, 6)),
    "segmentation": (
        ll.Segmentation(ignore=9),
        draw(6, 3, 4, 5),
        whole(3, 6, 4, 5) + 9 * (whole(4, 6, 4, 5, seed=1) == 0),
    ),
    "sequence-labelling": (
        ll.SequenceLabelling(),
        draw(6, 7, 3),
        whole(3, 6, 7).masked_fill(whole(3, 6, 7, seed=1) == 0, -100),
    ),
    "causal-lm": (ll.CausalLM(), draw(6, 7, 5), whole(5, 6, 7).masked_fill(whole(3, 6, 7, seed=1) == 0, -100)),
    "regression": (ll.Regression(), draw(6, 2), draw(6, 2, seed=1).masked_fill(whole(4, 6, 2) == 0, math.nan)),
    "regression of one number": (ll.Regression("l1"), draw(6, 1), draw(6, seed=1)),
}
CASES["segmentation"][2].masked_fill_(CASES["segmentation"][2] > 9, 9)
every_task = pytest.mark.parametrize("name", CASES)


def hard(task: Task, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    return task.hard(output, target, mask=task.positions(output, target, mask))


def by_hand(task: Task, output: Tensor, target: Tensor) -> float:
    """The labels' loss by loops over every position."""
    rows: list[float] = []
    out, wanted = output.numpy(), target.numpy()
    if isinstance(task, ll.MultiLabel):
        for z, y in zip(out.reshape(-1), wanted.reshape(-1), strict=True):
            p = 1 / (1 + math.exp(-z))
            if y >= 0:
                rows.append(-(y * math.log(p) + (1 - y) * math.log(1 - p)))
    elif isinstance(task, ll.Regression):
        apart = [z - y for z, y in zip(out.reshape(-1), wanted.reshape(-1), strict=True) if not math.isnan(y)]
        rows = [abs(d) if task.loss == "l1" else d * d for d in apart]
    else:
        if isinstance(task, ll.CausalLM):
            out, wanted = out[:, :-1], wanted[:, 1:]
        if isinstance(task, ll.Segmentation):
            out = np.moveaxis(out, 1, -1)
        classes = out.shape[-1]
        for z, y in zip(out.reshape(-1, classes), wanted.reshape(-1), strict=True):
            if 0 <= y < classes:
                rows.append(math.log(np.exp(z).sum()) - z[y])
    return float(np.mean(rows))


@every_task
def test_the_labels_loss_is_the_mean_over_what_is_known(name: str) -> None:
    task, output, target = CASES[name]
    assert float(hard(task, output, target)) == pytest.approx(by_hand(task, output, target), rel=1e-12)
    with pytest.raises(AssertionError):  # the tester sees a wrong formula
        assert float(hard(task, 1.01 * output, target)) == pytest.approx(by_hand(task, output, target), rel=1e-12)


@every_task
def test_parts_of_a_batch_weighed_by_what_they_count_are_the_whole(name: str) -> None:
    task, output, target = CASES[name]
    sizes = [slice(0, 1), slice(1, 6)]
    parts = [hard(task, output[part], target[part]) for part in sizes]
    counts = []
    for part in sizes:
        mask = task.positions(output[part], target[part], None)
        counted = task.counted(output[part], target[part], mask)
        counts.append(float(len(output[part]) if counted is None else counted))
    together = sum(float(loss) * count for loss, count in zip(parts, counts, strict=True)) / sum(counts)
    assert float(hard(task, output, target)) == pytest.approx(together, rel=1e-12)


@every_task
def test_softened_outputs_are_0_where_they_are_equal_and_reach_the_student_alone(name: str) -> None:
    task, output, target = CASES[name]
    teacher = draw(*output.shape, seed=7).requires_grad_()
    student = output.clone().requires_grad_()
    mask = task.positions(output, target, None)
    assert float(task.soft(output, output, Softening(2.0), mask)) == pytest.approx(0, abs=1e-12)
    (kl,) = torch.autograd.grad(task.soft(student, teacher.detach(), Softening(2.0), mask), student)
    kept = task.soft(student, teacher.detach(), Softening(2.0, form="cross-entropy"), mask)
    (other,) = torch.autograd.grad(kept, student)
    assert float(kl.abs().max()) > 1e-4
    torch.testing.assert_close(kl, other)


@every_task
def test_what_is_masked_changes_neither_value_nor_gradient(name: str) -> None:
    task, output, target = CASES[name]
    teacher, mask = draw(*output.shape, seed=7), torch.tensor([True, True, False, True, False, True])
    found = []
    for fill in (0.0, 50.0):
        student = output.clone()
        student[~mask] = fill
        student.requires_grad_()
        where = task.positions(student, target, mask)
        loss = task.hard(student, target, mask=where) + task.soft(student, teacher, Softening(1.0), where)
        loss.backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        found.append((loss.detach(), student.grad))
        assert float(student.grad[~mask].abs().max()) == 0
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    nothing = task.positions(output, target, torch.zeros(6, dtype=torch.bool))
    left = task.hard(output.clone().requires_grad_(), target, mask=nothing)
    assert float(left.detach()) == 0
    assert left.requires_grad


@every_task
def test_numbers_of_parts_are_those_of_the_whole(name: str) -> None:
    task, output, target = CASES[name]
    if (target == -1).any():  # judged sets have all their labels
        task, target = as_task(task.name), target.clamp_min(0)
    judged = torch.cat([task.judge(output[:2], target[:2]), task.judge(output[2:], target[2:])])
    numbers = task.summary(judged)
    assert next(iter(numbers)) == task.score.name
    assert numbers == pytest.approx(task.summary(task.judge(output, target)))
    first, second = (task.tally(output[part], target[part]) for part in (slice(0, 2), slice(2, 6)))
    if first is not None and second is not None:
        assert task.score_of(first + second) == pytest.approx(numbers[task.score.name])


def test_average_precision_and_f1_are_scikit_learns() -> None:
    scores, true = draw(40, 3), whole(2, 40, 3)
    scores[5:15] = scores[5]  # equal scores are taken together
    numbers = ll.MultiLabel().summary(ll.MultiLabel().judge(scores, true))
    expected = np.mean([average_precision_score(true[:, k], scores[:, k]) for k in range(3)])
    assert numbers["map"] == pytest.approx(100 * expected)
    assert numbers["f1"] == pytest.approx(100 * f1_score(true, scores > 0, average="macro"))
    assert numbers["label_accuracy"] == pytest.approx(100 * float(((scores > 0) == true).double().mean()))


def test_mean_iou_and_token_f1_are_scikit_learns() -> None:
    output, target = draw(5, 4, 6, 6), whole(4, 5, 6, 6)
    target[0, :3] = 255
    there = (target != 255).numpy()
    answers = output.argmax(1).numpy()[there]
    numbers = ll.Segmentation().summary(ll.Segmentation().judge(output, target))
    assert numbers["miou"] == pytest.approx(100 * jaccard_score(target.numpy()[there], answers, average="macro"))
    assert numbers["pixel_accuracy"] == pytest.approx(100 * np.mean(target.numpy()[there] == answers))
    labels, tokens = whole(3, 8, 9), draw(8, 9, 3)
    numbers = ll.SequenceLabelling().summary(ll.SequenceLabelling().judge(tokens, labels))
    assert numbers["f1"] == pytest.approx(100 * f1_score(labels.flatten(), tokens.argmax(2).flatten(), average="macro"))


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    task, output, target = CASES["causal-lm"]
    numbers = task.summary(task.judge(output.float(), target))
    assert numbers["perplexity"] == pytest.approx(math.exp(by_hand(task, output, target)), rel=1e-6)
    assert task.summary(task.judge(1e4 * output, target))["perplexity"] == 1e15  # what a file can hold
    assert math.isnan(task.summary(task.judge(output, torch.full_like(target, -100)))["perplexity"])


def test_errors_of_regression_by_hand() -> None:
    output, target = torch.tensor([[1.0], [2.0], [4.0], [9.0]]), torch.tensor([1.0, 3.0, 2.0, math.nan])
    numbers = ll.Regression().summary(ll.Regression().judge(output, target))
    assert numbers == pytest.approx({"mae": 1.0, "rmse": math.sqrt(5 / 3), "r2": 1 - 5 / 2})
    assert float(ll.Regression("smooth_l1").hard(output[:3], target[:3])) == pytest.approx((0 + 0.5 + 1.5) / 3)
    soft = ll.Regression().soft(output, output + 2, Softening(7.0))
    assert float(soft) == pytest.approx(4)  # whatever the temperature


def test_what_chance_is() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    assert ll.Classification().chance(labels) == pytest.approx((75, 100 * math.sqrt(0.75 * 0.25 / 4)))
    multi = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 1]])
    assert ll.MultiLabel().chance(multi) == pytest.approx(
        (100 * (0.5 + 0.25) / 2, 100 * math.sqrt(0.0625 + 0.046875) / 2)
    )
    maps = torch.tensor([[[0, 0], [1, 255]]])
    assert ll.Segmentation().chance(maps) == pytest.approx((100 * (2 / 3) / 2, 0))
    assert ll.Segmentation().summary(
        ll.Segmentation().judge(F.one_hot(torch.zeros(1, 2, 2, dtype=torch.int64), 2).permute(0, 3, 1, 2).float(), maps)
    )["miou"] == pytest.approx(100 * (2 / 3) / 2)  # all of class 0
    numbers = torch.tensor([0.0, 1.0, 5.0])
    assert ll.Regression().chance(numbers)[0] == pytest.approx(5 / 3)
    assert ll.CausalLM().chance(whole(5, 2, 3)) is None


@pytest.mark.parametrize(
    ("task", "output", "target", "message"),
    [
        (ll.Classification(), draw(4, 1), whole(1, 4), "the softmax over a single one is 1"),
        (ll.Classification(), draw(4, 1), torch.ones(4, 1), "the softmax over a single one is 1"),
        (ll.Classification(), draw(4, 3), torch.ones(4, 3), "add up to 1"),
        (ll.Classification(), draw(4, 3), whole(2, 4, 3) | 1, "multi-label"),
        (ll.Classification(), draw(4, 2), torch.tensor([[-0.5, 1.5]] * 4), "must be >= 0"),
        (ll.Classification(), draw(4, 2), torch.full((4, 2), math.nan), "must be >= 0"),
        (
            ll.Classification(),
            draw(4, 2),
            torch.tensor([0, 1, -100, 0]),
            "task=layerlink.Classification(unlabelled=-100)",
        ),
        (ll.Classification(), draw(4, 3), torch.tensor([0, 1, 3, 0]), "got 0..3. Set the model's num_classes"),
        (ll.Segmentation(), draw(4, 3, 5, 5), whole(3, 4, 5, 5) - 1, "task=layerlink.Segmentation(ignore=-1)"),
        (ll.Segmentation(), draw(4, 3, 5, 5), whole(3, 4, 1, 5, 5), "Take the axis out: labels[:, 0]"),
        (ll.SequenceLabelling(), draw(4, 3, 5), whole(5, 4, 3) - 1, "task=layerlink.SequenceLabelling(ignore=-1)"),
        (ll.Classification(), draw(4, 1), draw(4, 1), "for numbers task=layerlink.Regression()"),
        (ll.Classification(), draw(4, 3, 5), whole(5, 4, 3), "CausalLM() or SequenceLabelling()"),
        (ll.Classification(), draw(4, 3, 5, 5), whole(3, 4, 5, 5), "layerlink.Segmentation()"),
        (ll.MultiLabel(), draw(4, 3), 2 * whole(2, 4, 3), "must lie in 0..1; got 0 to 2"),
        (ll.MultiLabel(), draw(4, 3), whole(2, 4), "target 0..1 of the same shape"),
        (ll.Segmentation(), draw(4, 3, 5, 5), whole(3, 4, 10, 10), "let the model scale its output"),
        (ll.Segmentation(), draw(4, 3), whole(3, 4), "needs logits (N, C, H, W)"),
        (ll.CausalLM(), draw(4, 3), whole(3, 4), "needs logits (N, L, C)"),
        (ll.SequenceLabelling(), draw(4, 3, 2), whole(2, 4, 5), "labels (N, L) int64"),
        (ll.Regression(), draw(4, 1), draw(4, 4), "of one shape"),
        (ll.Regression(), draw(4), whole(3, 4), "floating-point"),
    ],
)
def test_a_target_that_a_task_cannot_mean_is_an_error(task: Task, output: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        hard(task, output, target)
    assert message in str(caught.value)


def test_softened_outputs_of_a_single_class_are_refused() -> None:
    one = draw(4, 1)
    for loss in (
        ll.LOSSES["kd"].make,
        lambda s, t: ll.Classification().soft(s, t, Softening(4.0)),
    ):
        with pytest.raises(ShapeError, match="softmax over a single one is 1 whatever the logit"):
            loss(one, one)
    apart = ll.MultiLabel().soft(one, -one, Softening(1.0))
    assert float(apart) > 0  # taught as the probability of yes


def test_tasks_by_name() -> None:
    for name, kind in TASKS.items():
        assert as_task(name) == kind()
    assert as_task("segmentation", {"ignore": 0}) == ll.Segmentation(ignore=0)
    assert as_task(ll.Regression) == ll.Regression()
    for wrong, message in (
        ("segmentaton", "Did you mean segmentation"),
        (3, "a task is a name or a layerlink task, such as layerlink.MultiLabel(); got int"),
    ):
        with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(")", r"\)")):
            as_task(wrong)
    with pytest.raises(UsageError, match="unexpected keyword argument 'ignored'"):
        as_task("segmentation", {"ignored": 0})
    with pytest.raises(UsageError, match="regression: loss must be one of mse, l1, smooth_l1; got 'huber'"):
        as_task("regression", {"loss": "huber"})


def test_labels_that_are_taken_away() -> None:
    chosen = torch.tensor([True, False, True])
    assert ll.Classification().without_label(torch.tensor([3, 4, 5]), chosen).tolist() == [3, -1, 5]
    assert ll.MultiLabel().without_label(whole(2, 3, 2).to(torch.uint8), chosen)[1].tolist() == [-1, -1]
    assert ll.Segmentation().without_label(torch.zeros(3, 2, 2, dtype=torch.uint8), chosen)[1].unique().tolist() == [
        254
    ]
    assert ll.Regression().without_label(torch.zeros(3), chosen).isnan().tolist() == [False, True, False]


def test_a_score_is_read_back_and_no_other() -> None:
    for kind in TASKS.values():
        assert Score.of(kind.score.facts()) == kind.score
    assert Score.of(None).name == "accuracy"
    for wrong in (
        3,
        {},
        {**ll.Regression.score.facts(), "name": "../x"},
        {**ll.Regression.score.facts(), "digits": 99},
    ):
        with pytest.raises(ValueError, match="score"):
            Score.of(wrong)


def test_a_task_of_ones_own_trains() -> None:
    class Ordinal(Task):
        name = "ordinal"
        score = Score("rank", "rank")

        def hard(
            self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0
        ) -> Tensor:
            return (output[:, 0] - target).abs().mean()

        def partly_labelled(self) -> Task:
            return self

    model = nn.Linear(3, 1)
    losses = ll.Distiller(None, model, task=Ordinal())(torch.ones(4, 3), torch.zeros(4))
    assert float(losses.terms["hard"].detach()) == pytest.approx(float(model(torch.ones(1, 3)).detach().abs()))


SHAPE = st.lists(st.integers(0, 3), max_size=4).map(tuple)
DTYPE = st.sampled_from([torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64])


@given(st.sampled_from(sorted(TASKS)), SHAPE, SHAPE, DTYPE, DTYPE, st.sampled_from([0.0, 1.0, -1.0, 2.0, math.nan]))
@cases(3)
def test_whatever_is_compared_is_a_number_or_told(
    name: str, output: tuple[int, ...], target: tuple[int, ...], one: torch.dtype, other: torch.dtype, fill: float
) -> None:
    task = as_task(name)
    outputs = torch.zeros(output, dtype=one)
    whole = fill if fill == fill or other.is_floating_point or other.is_complex else 0
    targets = torch.full(target, whole, dtype=torch.float64).to(other)
    assert all(isinstance(what, str) for what in task.problems(outputs.shape, 3))
    assert all(isinstance(what, str) for what in task.target_problems(targets, 3))
    try:
        loss = task.hard(outputs, targets, mask=task.positions(outputs, targets, None))
    except UsageError as error:
        assert str(error)
        return
    assert loss.shape == ()
    assert bool(loss.isfinite())
