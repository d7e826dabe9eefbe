"""A folder of tables as labelled tokens: read, tokenised once, kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from layerlink.data.images import Source
from layerlink.data.splits import hold_out
from layerlink.data.text.folder import Folder
from layerlink.data.text.labels import as_classes, without_labels
from layerlink.data.text.tables import Table, Wanted
from layerlink.data.text.textset import TextSet
from layerlink.data.text.tokens import Tokenizer
from layerlink.errors import LayerlinkError, UsageError

TEST_SHARE = 5  # a fifth of the training texts, where there is no test file
COMPARED = 64  # texts that two tokenizers are compared on


@dataclass(frozen=True)
class Texts:
    """How a folder is read.

    Args:
        wanted: its columns.
        classes: their names; None: as the files have them.
        max_length: in tokens.
    """

    wanted: Wanted
    classes: tuple[str, ...] | None = None
    max_length: int = 128


def load_texts(
    root: Path | None,
    texts: Texts,
    tokenizer: Tokenizer,
    *,
    teachers: Sequence[Tokenizer] = (),
    cache: Path | None = None,
) -> Source:
    """The texts below ``root``: train, validation and test.

    Files are known by their names: ``train``, ``dev`` (or ``val``, ``valid``, ``validation``), ``test``, with any of
    the endings of ``tables.ENDINGS``, or shards such as ``train-00000-of-00002.parquet``; or the folder is one that
    Hugging Face's ``datasets`` saved. Without a test file, or with one whose texts have no label, a fifth of the
    training texts is kept apart by the fixed rule of ``splits.hold_out``.

    Args:
        root: the folder.
        texts: how it is read.
        tokenizer: of the student.
        teachers: tokenizers of the teachers, which must give the same tokens.
        cache: the cache's folder; None for the default.

    Raises:
        UsageError: where the folder or a column is not there, or a teacher's tokens are others.
        LayerlinkError: where a file cannot be read, or texts have no label.
    """
    folder = Folder.at(root)
    settings = [list(texts.wanted.columns), texts.wanted.label, texts.classes, texts.max_length]
    settings += [it.rules for it in (tokenizer, *teachers)]

    def build() -> Source:
        return _source(folder.read(texts.wanted), texts, tokenizer, teachers)

    return folder.source(build, settings, TextSet, cache)


def _source(
    tables: Mapping[str, list[Table]], texts: Texts, tokenizer: Tokenizer, teachers: Sequence[Tokenizer]
) -> Source:
    kept = {role: list(parts) for role, parts in tables.items()}
    check_tokenizers(kept["train"], tokenizer, teachers)
    notes = [f"{', '.join(table.path.name for table in parts)}: {role}" for role, parts in kept.items()]
    if "test" in kept and without_labels(kept["test"]):
        notes.append(f"{kept.pop('test')[0].path.name} has no labels and is not read")
    classes, labels = as_classes(kept, texts.classes)
    sets = {role: _tokens(parts, labels[role], classes, texts, tokenizer) for role, parts in kept.items()}
    full = {role: int((it.lengths >= texts.max_length).sum()) for role, it in sets.items()}
    notes += [
        f"{count:,} of {len(sets[role]):,} {role} texts have {texts.max_length} tokens or more, and are cut there "
        "(data.texts.max_length)"
        for role, count in full.items()
        if count
    ]
    train, test = sets["train"], sets.get("test")
    if test is None:
        count = len(train) // TEST_SHARE
        if not count:
            raise LayerlinkError(f"text: {len(train)} texts are too few to keep a fifth apart for the test")
        train, test = hold_out(train, count)
        notes.append(f"{count:,} of the training texts are kept apart as the test")
    return Source(train, test, (), sets.get("validation"), tuple(notes))


def check_tokenizers(tables: Sequence[Table], tokenizer: Tokenizer, teachers: Sequence[Tokenizer]) -> None:
    """Raise ``UsageError`` where a teacher's tokenizer makes other tokens of the texts than the student's."""
    some = [column[:COMPARED] for column in tables[0].columns]
    for other in teachers:
        why = tokenizer.differs(other, some)
        if why:
            raise UsageError(
                f"the teacher's tokenizer {other.place} is not the student's {tokenizer.place}: {why}. Both must get "
                "the same tokens: take a student of the teacher's family"
            )


def _tokens(
    tables: Sequence[Table], labels: Tensor, classes: tuple[str, ...], texts: Texts, tokenizer: Tokenizer
) -> TextSet:
    count = len(tables[0].columns)
    columns = [[text for table in tables for text in table.columns[place]] for place in range(count)]
    tokens, starts, segments = tokenizer.tokens(columns, texts.max_length)
    return TextSet(tokens, starts, labels, classes, segments)
