"""Tasks on models as people have them; values worked out by hand or by the models' own losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import layerlink as ll
from layerlink.errors import UsageError


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def trained(distiller: ll.Distiller, *batch: Any, steps: int = 30, **more: Any) -> tuple[float, float]:
    """The total at the first step and after some."""
    optimizer = torch.optim.Adam(distiller.trainable_parameters(), 0.01)
    totals = []
    distiller.train()
    for _ in range(steps):
        losses = distiller(*batch, **more)
        losses.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        totals.append(float(losses.total.detach()))
    return totals[0], totals[-1]


class TestBert:
    """Two BERTs of other depth, with padding."""

    @staticmethod
    def pair() -> tuple[nn.Module, nn.Module, dict[str, Tensor]]:
        transformers = pytest.importorskip("transformers", reason="the extra dev brings it")
        models = [
            transformers.BertForSequenceClassification(
                transformers.BertConfig(
                    vocab_size=50,
                    hidden_size=16,
                    num_hidden_layers=layers,
                    num_attention_heads=2,
                    intermediate_size=24,
                    max_position_embeddings=12,
                    num_labels=3,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                )
            )
            for layers in (4, 2)
        ]
        mask = torch.ones(6, 10, dtype=torch.int64)
        mask[0, 4:] = mask[1, 7:] = 0
        return models[0], models[1], {"input_ids": torch.randint(1, 50, (6, 10)), "attention_mask": mask}

    LINKS = ("bert.encoder.layer.3 -> bert.encoder.layer.1 : mse, where=attention_mask",)

    def test_padding_changes_nothing(self) -> None:
        teacher, student, inputs = self.pair()
        distiller = ll.Distiller(teacher, student, soft=ll.Soft(2.0), links=self.LINKS)
        found = []
        for fill in (0, 7):
            ids = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, fill)
            found.append(distiller({**inputs, "input_ids": ids}, torch.arange(6) % 3).total)
        assert float(found[0].detach()) == pytest.approx(float(found[1].detach()), rel=1e-6)

    def test_a_link_is_the_mean_over_words(self) -> None:
        teacher, student, inputs = self.pair()
        losses = ll.Distiller(teacher, student, links=self.LINKS)(inputs, torch.arange(6) % 3)
        with torch.no_grad():
            hidden = [
                model.eval()(**inputs, output_hidden_states=True).hidden_states[-1] for model in (teacher, student)
            ]
        rows = (hidden[0] - hidden[1]).square().mean(2)
        there = inputs["attention_mask"].bool()
        assert float(losses.terms[self.LINKS[0]].detach()) == pytest.approx(float(rows[there].mean()), rel=1e-5)

    def test_the_models_own_loss_is_taken(self) -> None:
        teacher, student, inputs = self.pair()
        labels = torch.arange(6) % 3
        distiller = ll.Distiller(teacher, student, hard="@output[loss]", soft=ll.Soft(2.0))
        losses = distiller({**inputs, "labels": labels})
        expected = F.cross_entropy(student(**inputs).logits, labels)
        assert float(losses.terms["hard"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
        first, last = trained(distiller, {**inputs, "labels": labels})
        assert last < 0.7 * first


def test_a_gpt_2_like_model_reads_the_next_token() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra dev brings it")
    shape = {"vocab_size": 40, "n_positions": 16, "n_embd": 16, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    teacher, student = (
        transformers.GPT2LMHeadModel(
            transformers.GPT2Config(**shape, n_layer=layers, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0)
        )
        for layers in (3, 1)
    )
    ids = torch.randint(1, 40, (4, 12))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[2, :5] = -100  # a prompt
    inputs = {"input_ids": ids, "attention_mask": mask}
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(1.0), task="causal-lm")
    losses = distiller(inputs, labels)
    own = student(**inputs, labels=labels).loss
    assert float(losses.terms["hard"].detach()) == pytest.approx(float(own.detach()), rel=1e-6)
    # The soft loss counts the same positions: those whose next token does.
    with torch.no_grad():
        p_t = teacher(**inputs).logits.log_softmax(2)
        apart = (p_t.exp() * (p_t - student(**inputs).logits.log_softmax(2))).sum(2)[:, :-1]
    counting = labels[:, 1:] != -100
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart[counting].mean()), rel=1e-5)
    padded = {**inputs, "input_ids": ids.masked_fill(mask == 0, 3)}
    assert float(distiller(padded, labels).total.detach()) == pytest.approx(float(losses.total.detach()), rel=1e-6)
    first, last = trained(distiller, inputs, labels)
    assert last < 0.8 * first


def test_an_lstm_labels_every_token() -> None:
    class Tagger(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.words, self.lstm, self.head = (
                nn.Embedding(20, 6),
                nn.LSTM(6, width, batch_first=True),
                nn.Linear(width, 4),
            )

        def forward(self, ids: Tensor) -> Tensor:
            found: Tensor = self.head(self.lstm(self.words(ids))[0])
            return found

    teacher, student = Tagger(16), Tagger(6)
    ids, mask = torch.randint(0, 20, (5, 9)), torch.rand(5, 9) > 0.3
    labels = torch.randint(0, 4, (5, 9)).masked_fill(~mask, -100)
    links = ["lstm[0] : mse, adapter=linear"]
    distiller = ll.Distiller(
        teacher, student, soft=ll.Soft(1.0), links=links, example=ids[:2], task=ll.SequenceLabelling()
    )
    losses = distiller(ids, labels, mask=mask)
    expected = F.cross_entropy(student(ids)[mask], labels[mask])
    assert float(losses.terms["hard"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    first, last = trained(distiller, ids, labels, mask=mask)
    assert last < first


def test_a_small_u_net_paints_maps() -> None:
    class UNet(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.down = nn.Conv2d(3, width, 3, stride=2, padding=1)
            self.middle = nn.Conv2d(width, width, 3, padding=1)
            self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
            self.head = nn.Conv2d(width + 3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.up(self.middle(self.down(x).relu()).relu())
            return self.head(torch.cat([x, y], 1))

    teacher, student = UNet(12), UNet(6)
    x, labels = torch.randn(3, 3, 8, 8), torch.randint(0, 4, (3, 8, 8))
    labels[0, :4] = 255
    links = ["middle : at", "@output : cosine"]
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(3.0), links=links, task="segmentation")
    losses = distiller(x, labels)
    there = labels != 255
    with torch.no_grad():
        own, other = (model.eval()(x).movedim(1, -1)[there] for model in (student, teacher))
    assert float(losses.terms["hard"].detach()) == pytest.approx(float(F.cross_entropy(own, labels[there])), rel=1e-5)
    p = (other / 3).softmax(1)
    apart = (p * (p.log() - (own / 3).log_softmax(1))).sum(1).mean() * 9
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart), rel=1e-5)
    cosine = (1 - F.cosine_similarity(own, other, dim=1)).mean()  # links between outputs count the same pixels
    assert float(losses.terms["@output : cosine"].detach()) == pytest.approx(float(cosine), rel=1e-5)
    first, last = trained(distiller, x, labels)
    assert last < first


def test_several_labels_and_a_single_yes_or_no() -> None:
    for labels in (3, 1):
        teacher, student = nn.Linear(5, labels), nn.Linear(5, labels)
        x, y = torch.randn(8, 5), torch.randint(0, 2, (8, labels)).float()
        losses = ll.Distiller(teacher, student, soft=ll.Soft(2.0), task=ll.MultiLabel())(x, y)
        own, other = student(x).detach(), teacher(x).detach()
        expected = F.binary_cross_entropy_with_logits(own, y)
        assert float(losses.terms["hard"].detach()) == pytest.approx(float(expected), rel=1e-6)
        p, q = (other / 2).sigmoid(), (own / 2).sigmoid()
        apart = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
        assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart), rel=1e-4)


def test_numbers_are_learnt_from_a_teacher() -> None:
    teacher, student = nn.Linear(5, 1), nn.Linear(5, 1)
    x = torch.randn(8, 5)
    y = torch.randn(8)
    losses = ll.Distiller(teacher, student, soft=ll.Soft(weight=2.0), task="regression")(x, y)
    own, other = student(x).detach()[:, 0], teacher(x).detach()[:, 0]
    assert float(losses.terms["hard"].detach()) == pytest.approx(float((own - y).square().mean()), rel=1e-6)
    assert float(losses.terms["soft"].detach()) == pytest.approx(float((own - other).square().mean()), rel=1e-6)


class TwoHeads(nn.Module):
    """A small ViT with a class head and a head for the teacher; one output in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.tokens = nn.Parameter(torch.randn(1, 2, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.classes, self.taught = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Any:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        given = self.block(torch.cat([self.tokens.expand(len(x), -1, -1), patches], 1))
        heads = self.classes(given[:, 0]), self.taught(given[:, 1])
        return heads if self.training else (heads[0] + heads[1]) / 2


def test_a_vit_with_two_heads_learns_labels_by_one_and_the_teacher_by_the_other() -> None:
    teacher, student = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3)), TwoHeads()
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    distiller = ll.Distiller(teacher, student, hard=ll.Hard(output="[0]"), soft=ll.Soft(3.0, output="[1]"))
    losses = distiller(x, y)
    own, for_teacher = student(x)
    p = (teacher(x) / 3).softmax(1)
    apart = 9 * (p * (p.log() - (for_teacher / 3).log_softmax(1))).sum(1).mean()
    assert float(losses.terms["hard"].detach()) == pytest.approx(float(F.cross_entropy(own, y).detach()), rel=1e-6)
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart.detach()), rel=1e-5)
    losses.terms["soft"].backward()
    assert student.classes.weight.grad is None
    assert student.taught.weight.grad is not None
    assert losses.logits is not None
    assert torch.equal(losses.logits.detach(), own.detach())  # what training counts as answered


def test_a_loss_of_ones_own_is_given_what_the_student_returned() -> None:
    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"frames": self.head(x).log_softmax(2).transpose(0, 1)}

    def ctc(output: dict[str, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        labels, lengths = target
        frames = torch.full((len(labels),), len(output["frames"]))
        return F.ctc_loss(output["frames"], labels, frames, lengths)

    student, x = Speech(), torch.randn(2, 9, 4)
    target = torch.tensor([[1, 2, 3], [4, 1, 0]]), torch.tensor([3, 2])
    distiller = ll.Distiller(None, student, hard=ctc)
    assert float(distiller(x, target).total.detach()) == pytest.approx(
        float(ctc(student(x), target).detach()), rel=1e-6
    )
    half = ll.Distiller(None, student, hard=ll.Hard(0.5, ctc))
    assert float(half(x, target).total.detach()) == pytest.approx(float(ctc(student(x), target).detach()) / 2, rel=1e-6)
    first, last = trained(distiller, x, target)
    assert last < first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hard": lambda output, target: 3.0}, "must give a single floating-point number with a gradient; got float"),
        ({"hard": lambda output, target: output}, "got torch.float32 (2, 3)"),
        ({"hard": "@output[loss]"}, "loss"),
        ({"hard": lambda output, target: output.mean(), "label_smoothing": 0.1}, "hard has a loss of its own"),
        ({"task": "clasification"}, "Did you mean classification"),
    ],
)
def test_what_cannot_be_a_loss_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ll.Distiller(None, nn.Linear(4, 3), **arguments)(torch.zeros(2, 4), torch.tensor([0, 1]))
    assert message in str(caught.value)


def test_an_element_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="hard: output must name an element of the output, such as"):
        ll.Hard(output="x y]")


def test_examples_without_a_label_still_learn_from_the_teacher() -> None:
    teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    x, y = torch.randn(4, 4), torch.tensor([2, -1, -1, 0])
    losses = ll.Distiller(teacher, student, soft=ll.Soft(1.0), task=ll.Classification(unlabelled=-1))(x, y)
    known = F.cross_entropy(student(x)[[0, 3]], y[[0, 3]])
    assert float(losses.terms["hard"].detach()) == pytest.approx(float(known.detach()), rel=1e-6)
    p = teacher(x).softmax(1)
    apart = (p * (p.log() - student(x).log_softmax(1))).sum(1).mean()
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart.detach()), rel=1e-5)
    with pytest.raises(UsageError, match="dkd needs the label of every example, and some have none here"):
        ll.Distiller(teacher, student, links=["@output : dkd"], task=ll.Classification(unlabelled=-1))


def test_a_task_of_one_kind_says_its_perplexity() -> None:
    task = ll.CausalLM()
    uniform = torch.zeros(2, 5, 8)
    numbers = task.summary(task.judge(uniform, torch.randint(0, 8, (2, 5))))
    assert numbers["perplexity"] == pytest.approx(8)
    assert numbers["nll"] == pytest.approx(math.log(8))
