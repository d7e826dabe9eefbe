"""A BERT of a few thousand weights with its tokenizer, as folders of the Hugging Face hub are; tables of its words."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = ("good", "fine", "great", "bad", "poor", "dull", "film", "story", "the", "a", "is", "was", "very", "and")
GOOD, BAD = WORDS[:3], WORDS[3:6]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    """Write a tokenizer of whole words."""
    transformers = pytest.importorskip("transformers", reason="the extra text brings it")
    tokenizers = pytest.importorskip("tokenizers", reason="transformers brings it")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate((*SPECIAL, *words))}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_input_names=["input_ids", "token_type_ids", "attention_mask"], **names
    )
    fast.save_pretrained(folder)


def bert(folder: Path, layers: int = 2, words: tuple[str, ...] = WORDS, dropout: float = 0.1) -> str:
    """Write a tiny BERT with its tokenizer; its name in a recipe."""
    transformers = pytest.importorskip("transformers", reason="the extra text brings it")
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(words),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    torch.manual_seed(len(words) + layers)
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer(folder, words)
    return f"hf:{folder}"


def sentences(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Sentences of 2 to 12 words that say what their label does."""
    draw = random.Random(seed)
    rows = []
    for n in range(count):
        label = n % 2
        words = [draw.choice(WORDS[6:]) for _ in range(draw.randint(1, 11))]
        words.insert(draw.randint(0, len(words)), draw.choice(GOOD if label else BAD))
        rows.append((" ".join(words), label))
    return rows


def tables(root: Path, **counts: int) -> Path:
    """Write tables without a line of names, as SST-2 is: ``train=40, dev=12``."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate(counts.items()):
        lines = [f"{text}\t{label}\n" for text, label in sentences(count, seed)]
        (root / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return root


def recipe(model: str, root: Path, *more: str, **training: Any) -> str:
    """The text of a recipe on ``tables``."""
    fields = {"epochs": 2, "batch_size": 8, "optimizer": "adamw", "lr": 0.003, "schedule": "one-cycle", **training}
    lines = [
        f'data: {{name: text, root: "{root}", texts: {{columns: 0, label: 1, classes: [bad, good]}}}}',
        *([f'student: "{model}"'] if model else []),
        *more,
        f"training: {{{', '.join(f'{name}: {value}' for name, value in fields.items())}}}",
        "precision: float32",
    ]
    return "\n".join(lines) + "\n"
