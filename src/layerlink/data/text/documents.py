"""A folder of tables as sequences of tokens, for causal language models: read, tokenised once, kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from layerlink.data.images import Source
from layerlink.data.splits import hold_out, split
from layerlink.data.text.folder import Folder
from layerlink.data.text.load import TEST_SHARE, check_tokenizers
from layerlink.data.text.sequences import SequenceSet, packed, padded
from layerlink.data.text.tables import Table, Wanted
from layerlink.data.text.textset import TextSet
from layerlink.data.text.tokens import Tokenizer
from layerlink.errors import LayerlinkError, UsageError


@dataclass(frozen=True)
class Documents:
    """How a folder is read.

    Args:
        wanted: its column of texts, without labels.
        length: tokens of a sequence.
        packing: whether texts are joined and cut into sequences of just this length; else each text is a sequence.
        ignore: the label of padding.
        validation: texts that are kept apart for selection, where no file is for that: a share below 1, or a count.
        seed: of which ones these are.
    """

    wanted: Wanted
    length: int
    packing: bool = True
    ignore: int = -100
    validation: float = 0.1
    seed: int = 0


def load_documents(
    root: Path | None,
    how: Documents,
    tokenizer: Tokenizer,
    *,
    teachers: Sequence[Tokenizer] = (),
    cache: Path | None = None,
) -> Source:
    """The texts below ``root`` as sequences: train, validation and test, of files as ``load_texts`` knows them.

    What is kept apart are whole texts, before any are joined: no text is in two parts. Labels are the tokens.

    Args:
        root: the folder.
        how: it is read.
        tokenizer: of the student.
        teachers: tokenizers of the teachers, which must give the same tokens.
        cache: the cache's folder; None for the default.

    Raises:
        UsageError: where the folder or the column is not there, a teacher's tokens are others, or a part is shorter
            than a sequence.
        LayerlinkError: where a file cannot be read, or all its texts are empty.
    """
    folder = Folder.at(root)
    settings = ["documents", list(how.wanted.columns), how.length, how.packing, how.ignore, how.validation, how.seed]
    settings += [it.rules for it in (tokenizer, *teachers)]

    def build() -> Source:
        tables = folder.read(how.wanted)
        check_tokenizers(tables["train"], tokenizer, teachers)
        return _source(tables, how, tokenizer)

    return folder.source(build, settings, SequenceSet, cache)


def _source(tables: Mapping[str, list[Table]], how: Documents, tokenizer: Tokenizer) -> Source:
    notes = [f"{', '.join(table.path.name for table in parts)}: {role}" for role, parts in tables.items()]
    found = {role: _documents(role, parts, tokenizer, notes) for role, parts in tables.items()}
    train, test, validation = found["train"], found.get("test"), found.get("validation")
    if test is None:
        count = len(train) // TEST_SHARE
        if not count:
            raise LayerlinkError(f"text: {len(train)} texts are too few to keep a fifth apart for the test")
        train, test = hold_out(train, count)
        notes.append(f"{count:,} of the training texts are kept apart as the test")
    if validation is None:
        count = int(how.validation) if how.validation >= 1 else max(round(how.validation * len(train)), 1)
        train, validation = split(train, validation=count, train_images=None, seed=how.seed)
        notes.append(f"{count:,} of the training texts are kept apart as the validation")
    sets = {
        role: _sequences(role, part, how, notes)
        for role, part in {"train": train, "validation": validation, "test": test}.items()
    }
    return Source(sets["train"], sets["test"], (), sets["validation"], tuple(notes))


def _documents(role: str, tables: Sequence[Table], tokenizer: Tokenizer, notes: list[str]) -> TextSet:
    """The texts of a part, whole; those without a letter are left out."""
    every = [text for table in tables for text in table.columns[0]]
    texts = [text for text in every if text.strip()]
    if not texts:
        raise LayerlinkError(f"{tables[0].path}: every one of the {len(every):,} {role} texts is empty")
    if len(texts) < len(every):
        notes.append(f"{len(every) - len(texts):,} of {len(every):,} {role} texts are empty, and are left out")
    tokens, starts = tokenizer.documents(texts)
    return TextSet(tokens, starts, torch.zeros(len(texts), dtype=torch.int64), ("text",))


def _sequences(role: str, documents: TextSet, how: Documents, notes: list[str]) -> SequenceSet:
    if not how.packing:
        cut = int((documents.lengths > how.length).sum())
        if cut:
            notes.append(
                f"{cut:,} of {len(documents):,} {role} texts have more than {how.length} tokens, and are cut there "
                "(data.texts.max_length)"
            )
        return padded(documents, how.length, how.ignore)
    total = len(documents.tokens)
    if total < how.length:
        more = ". Raise data.validation" if role == "validation" else ""
        raise UsageError(
            f"text: the {len(documents):,} {role} texts have {total:,} tokens in all, less than one sequence of "
            f"{how.length}: lower data.texts.max_length, or set data.texts.packing to false, which keeps every text a "
            f"sequence of its own{more}"
        )
    made = packed(documents, how.length)
    notes.append(
        f"{role}: {len(documents):,} texts, {total:,} tokens in {len(made):,} sequences, {total % how.length} left over"
    )
    return made
