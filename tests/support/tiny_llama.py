"""A Llama of a few thousand weights with its tokenizer, as folders of the hub are; texts that it can learn."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = ("the", "a", "film", "story", "end", "was", "is", "good", "bad", "long", "and", "very", "I", "saw", "it", ".")
SPECIAL = ("<pad>", "<unk>", "<end>")
# What follows what: every word has two that may come next, so that a text is worth ln 2 = 0.69 nats a word.
NEXT = {word: (WORDS[(3 * n + 1) % len(WORDS)], WORDS[(5 * n + 2) % len(WORDS)]) for n, word in enumerate(WORDS)}


def tokenizer(folder: Path, words: tuple[str, ...] = WORDS, end: str | None = "<end>") -> None:
    """Write a tokenizer of whole words."""
    transformers = pytest.importorskip("transformers", reason="the extra text brings it")
    tokenizers = pytest.importorskip("tokenizers", reason="transformers brings it")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate((*SPECIAL, *words))}, unk_token="<unk>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "unk_token": "<unk>"} | ({} if end is None else {"eos_token": end})
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names)
    fast.save_pretrained(folder)


def llama(folder: Path, layers: int = 2, words: tuple[str, ...] = WORDS, *, tied: bool = True, **more: Any) -> str:
    """Write a tiny Llama with its tokenizer; its name in a recipe."""
    transformers = pytest.importorskip("transformers", reason="the extra text brings it")
    config = transformers.LlamaConfig(
        vocab_size=len(SPECIAL) + len(words),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        **more,
    )
    torch.manual_seed(len(words) + layers)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer(folder, words)
    return f"hf:{folder}"


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 3 to 20 words in which every word follows from the one before, but for a choice of two."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words = [draw.choice(WORDS)]
        while len(words) < draw.randint(3, 20):
            words.append(draw.choice(NEXT[words[-1]]))
        found.append(" ".join(words))
    return found


def tables(root: Path, **counts: int) -> Path:
    """Write files of JSON lines with a column ``text``: ``train=40, dev=12``."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate(counts.items()):
        lines = [json.dumps({"text": text, "stars": 5}) + "\n" for text in texts(count, seed)]
        (root / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return root


def recipe(model: str, root: Path, *more: str, texts: str = "max_length: 12", **training: Any) -> str:
    """The text of a recipe on ``tables``."""
    fields = {"epochs": 2, "batch_size": 8, "optimizer": "adamw", "lr": 0.01, "schedule": "one-cycle", **training}
    lines = [
        "task: causal-lm",
        f'data: {{name: text, root: "{root}", texts: {{{texts}}}}}',
        *([f'student: "{model}"'] if model else []),
        *more,
        f"training: {{{', '.join(f'{name}: {value}' for name, value in fields.items())}}}",
        "precision: float32",
    ]
    return "\n".join(lines) + "\n"
