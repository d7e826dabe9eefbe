"""DistillTrainer beside a loop written by hand: the same weights, to rounding, also accumulated, saved and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.errors import UsageError
from layerlink.teachers import EMATeacher

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of other people's packages

EXAMPLES, WORDS, LENGTH = 24, 50, 12


def bert(width: int, layers: int) -> nn.Module:
    torch.manual_seed(width)
    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=width, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=width,
        max_position_embeddings=LENGTH, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def gpt2(width: int, layers: int) -> nn.Module:
    torch.manual_seed(width)
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_embd=width, n_layer=layers, n_head=2, n_positions=LENGTH, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def texts(kind: str) -> list[dict[str, Tensor]]:
    """Examples of unequal length, padded to one."""
    draw = torch.Generator().manual_seed(3)
    found = []
    for number in range(EXAMPLES):
        words = torch.randint(1, WORDS, (LENGTH,), generator=draw)
        mask = (torch.arange(LENGTH) < 4 + number % 9).long()
        labels = torch.where(mask == 1, words, -100) if kind == "lm" else torch.tensor(number % 3)
        found.append({"input_ids": words * mask, "attention_mask": mask, "labels": labels})
    return found


LINKED = "{0} -> {1} : hidden_mse * 2, adapter=linear, where=attention_mask"


def distiller_of(kind: str, **more: Any) -> ll.Distiller:
    make, link = (
        (gpt2, ("transformer.h.1", "transformer.h.0"))
        if kind == "lm"
        else (bert, ("bert.encoder.layer.1", "bert.encoder.layer.0"))
    )
    teacher, student = make(16, 2), make(8, 1)
    example = {name: torch.stack([it[name] for it in texts(kind)[:2]]) for name in ("input_ids", "attention_mask")}
    torch.manual_seed(7)
    task = "causal-lm" if kind == "lm" else "classification"
    links = [LINKED.format(*link)]
    return ll.Distiller(
        teacher, student, soft=ll.Soft(temperature=2.0), links=links, task=task, example=example, **more
    )


def trainer_of(distiller: ll.Distiller, kind: str, folder: Path, **more: Any) -> Any:
    from layerlink.integrations.transformers import DistillTrainer

    given: dict[str, Any] = {
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "learning_rate": 0.1, "optim": "sgd",
        "lr_scheduler_type": "constant", "max_grad_norm": 0.5, "weight_decay": 0.01, "num_train_epochs": 1,
        "report_to": [], "logging_steps": 1, "save_strategy": "no", "use_cpu": True, "disable_tqdm": True,
        **more,
    }  # fmt: skip
    args = transformers.TrainingArguments(output_dir=str(folder), **given)
    return DistillTrainer(
        distiller, args, train_dataset=texts(kind), eval_dataset=texts(kind)[:10],
        data_collator=lambda rows: {name: torch.stack([row[name] for row in rows]) for name in rows[0]},
    )  # fmt: skip


def by_hand(distiller: ll.Distiller, batches: list[list[dict[str, Tensor]]]) -> list[dict[str, float]]:
    """One step a whole batch, nothing accumulated: what the Trainer's parts must add up to."""
    decayed = [
        p for n, p in distiller.named_parameters() if p.requires_grad and p.dim() > 1 and "norm" not in n.lower()
    ]
    others = [p for p in distiller.trainable_parameters() if not any(p is it for it in decayed)]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer, told = torch.optim.SGD(groups, lr=0.1), []
    for batch in batches:
        inputs = {name: torch.stack([row[name] for row in batch]) for name in batch[0]}
        distiller.train()
        losses = distiller(inputs, inputs.pop("labels"))
        losses.total.backward()
        nn.utils.clip_grad_norm_(distiller.trainable_parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        told.append({name: float(term.detach()) for name, term in losses.terms.items()})
    return told


class InOrder(torch.utils.data.SequentialSampler):
    """The examples as they lie."""


def same(one: ll.Distiller, other: ll.Distiller) -> float:
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a if isinstance(a[name], Tensor))


@pytest.mark.parametrize("kind", ["lm", "classes"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_accumulated_it_ends_with_the_weights_of_whole_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, smoothing: float
) -> None:
    distiller, whole = distiller_of(kind), distiller_of(kind, label_smoothing=smoothing)
    before = distiller_of(kind)
    trainer = trainer_of(distiller, kind, tmp_path, label_smoothing_factor=smoothing)
    monkeypatch.setattr(type(trainer), "_get_train_sampler", lambda self, *_: InOrder(self.train_dataset))
    trainer.train()
    data = texts(kind)
    told = by_hand(whole, [data[:8], data[8:16], data[16:]])
    assert same(before, distiller) > 1e-2
    assert same(whole, distiller) < 2e-6
    lines = [line for line in trainer.state.log_history if "loss" in line]
    for line, terms in zip(lines, told, strict=True):
        assert {name: line[name] for name in terms} == pytest.approx(terms, rel=1e-4, abs=1e-6)


def test_parts_of_unequal_length_do_not_count_alike() -> None:
    """The shares are what makes the test above hold: with equal ones it would not."""
    from layerlink.transfer.shares import shares_of

    distiller, data = distiller_of("lm"), texts("lm")
    parts = []
    for rows in (data[:3], data[3:4]):
        inputs = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        parts.append((inputs, inputs.pop("labels")))
    first, second = shares_of(distiller, parts)
    link = distiller.whole_objective.links[0].text
    assert first["hard"] == pytest.approx((3 + 4 + 5) / (3 + 4 + 5 + 6))  # tokens that have one before them
    assert first[link] == pytest.approx((4 + 5 + 6) / (4 + 5 + 6 + 7))
    assert first["soft"] == first["hard"]
    assert {name: first[name] + second[name] for name in first} == pytest.approx(dict.fromkeys(first, 1.0))


def test_evaluation_is_the_plain_trainer_s(tmp_path: Path) -> None:
    distiller, data = distiller_of("lm"), texts("lm")[:10]
    trainer = trainer_of(distiller, "lm", tmp_path, per_device_eval_batch_size=10)
    found = trainer.evaluate()["eval_loss"]
    plain = transformers.Trainer(
        distiller.student, trainer.args, eval_dataset=data, data_collator=trainer.data_collator
    ).evaluate()["eval_loss"]
    assert found == pytest.approx(plain, rel=1e-6)


def test_what_is_saved_is_the_student_and_a_checkpoint_has_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = distiller_of("lm"), distiller_of("lm")
    monkeypatch.setattr(transformers.Trainer, "_get_train_sampler", lambda self, *_: InOrder(self.train_dataset))
    more = {"save_strategy": "steps", "save_steps": 2, "optim": "adamw_torch", "learning_rate": 1e-3}
    trainer_of(straight, "lm", tmp_path / "a", **more).train()
    trainer = trainer_of(stopped, "lm", tmp_path / "b", **more)
    checkpoint = tmp_path / "a" / "checkpoint-2"
    trainer.train(resume_from_checkpoint=str(checkpoint))
    assert same(straight, stopped) < 1e-7
    trainer.save_model(str(tmp_path / "saved"))
    names = set(safetensors.torch.load_file(tmp_path / "saved" / "model.safetensors"))
    assert names <= set(gpt2(8, 1).state_dict())
    assert not any("parts" in name for name in names)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.transformer.wte.weight, stopped.student.transformer.wte.weight)
    own = torch.load(checkpoint / "distiller.pt", weights_only=True)
    assert own
    assert all(name.startswith("parts.") for name in own)
    (checkpoint / "distiller.pt").unlink()
    with pytest.raises(ll.LayerlinkError, match=r"distiller\.pt: the distiller's state is missing"):
        trainer_of(distiller_of("lm"), "lm", tmp_path / "c", **more).train(resume_from_checkpoint=str(checkpoint))
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 2


def test_an_optimizer_without_the_adapters_is_refused(tmp_path: Path) -> None:
    from layerlink.integrations.transformers import DistillTrainer

    distiller = distiller_of("lm")
    args = transformers.TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    optimizer = torch.optim.SGD(distiller.student.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"lacks 2 parameters of links: make it of distiller.trainable_parameters\(\)"):
        DistillTrainer(distiller, args, optimizers=(optimizer, None))
    with pytest.raises(UsageError, match="takes no model: the distiller has the student"):
        DistillTrainer(distiller, args, model=distiller.student)


def test_an_average_of_the_student_follows_every_step(tmp_path: Path) -> None:
    student = gpt2(8, 1)
    average = EMATeacher(student, decay=0.5)
    distiller = ll.Distiller(average, student, soft=ll.Soft(), task="causal-lm")
    began = {name: value.clone() for name, value in average.models()[0].state_dict().items()}
    trainer_of(distiller, "lm", tmp_path).train()
    now = average.models()[0].state_dict()
    assert any(not torch.equal(began[name], now[name]) for name in now)


def test_a_student_that_computes_its_own_loss_gets_the_labels(tmp_path: Path) -> None:
    """Of a causal model that is the task's: the same weights."""
    ended = []
    for how in ({}, {"hard": "@output[loss]"}):
        distiller = distiller_of("lm", **how)
        trainer_of(distiller, "lm", tmp_path).train()
        ended.append([parameter.detach() for parameter in distiller.trainable_parameters()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*ended, strict=True))


@pytest.mark.parametrize("hard", [1.0, "@output[loss]"])
def test_a_decoder_makes_its_inputs_of_the_labels(hard: Any, tmp_path: Path) -> None:
    from layerlink.integrations.transformers import DistillTrainer

    def t5(width: int) -> Any:
        torch.manual_seed(width)
        config = transformers.T5Config(
            num_layers=1, d_model=width, d_kv=4, d_ff=8, num_heads=2, vocab_size=WORDS, decoder_start_token_id=0,
            dropout_rate=0.0,
        )  # fmt: skip
        return transformers.T5ForConditionalGeneration(config)

    rows = [{"input_ids": torch.arange(6) + n, "labels": torch.arange(4) + n} for n in range(4)]
    teacher, student = t5(16), t5(8)
    distiller = ll.Distiller(teacher, student, hard=hard, soft=ll.Soft(temperature=2.0), task="sequence-labelling")
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    with torch.no_grad():
        own, other = student(**batch), teacher(**batch)
    soft = (other.logits / 2).softmax(-1) * ((other.logits / 2).log_softmax(-1) - (own.logits / 2).log_softmax(-1))
    args = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, max_steps=1, logging_steps=1, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = DistillTrainer(distiller, args, train_dataset=rows)
    trainer.train()
    told = trainer.state.log_history[0]
    assert told["hard"] == pytest.approx(float(own.loss), rel=1e-4)
    assert told["soft"] == pytest.approx(float(4 * soft.sum(-1).mean()), rel=1e-4)


def test_what_is_no_distiller_is_told(tmp_path: Path) -> None:
    from layerlink.integrations.transformers import DistillTrainer

    with pytest.raises(UsageError, match=r"takes a layerlink.Distiller\(teacher, student, ...\) .* got Linear"):
        DistillTrainer(nn.Linear(2, 2), transformers.TrainingArguments(str(tmp_path)))  # type: ignore[arg-type]
