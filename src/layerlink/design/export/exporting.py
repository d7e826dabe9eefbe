"""A finished run's student as a file of another format, compared with the student before anybody relies on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from layerlink.design.export.comparing import Compared, Read, compare, latencies, read
from layerlink.design.export.folder import ExportFolder
from layerlink.design.export.formats.job import Format, Job, Opened, converting
from layerlink.design.export.formats.table import format_named
from layerlink.design.export.subject import Subject, subject_of
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.paths import expanded
from layerlink.lab.run.folder import RunFolder
from layerlink.measure.timing import Timing
from layerlink.taps.modes import evaluating
from layerlink.taps.modules import call_model
from layerlink.tasks import Score

BATCHES = (1, 128)
SECONDS = 2.0  # of timing a file and the model, a batch size
MOST_LOSS = 1.0
ROUNDING = 0.01  # of the largest output, that another order of sums may change in float32; 1e-6 is usual


@dataclass(frozen=True)
class Exported:
    """A file that was written, beside the student that it was written from.

    Args:
        path: of it.
        format: its kind.
        int8: whether it computes in 8 bits.
        bytes: of it and what belongs to it.
        images: test examples that both were compared on, of ``all_images``; ``examples`` says whether these are texts.
        largest_difference: between two outputs, and ``largest_output`` of the student to judge it by.
        score: the task's.
        file_score: what the file reaches, and ``torch_score`` the student.
        agreement: equal answers of file and student in percent, ``teacher_agreement`` of file and teacher, and
            ``torch_teacher_agreement`` of student and teacher; None where there are none to compare.
        latency: of a batch in milliseconds, by its size: of the file and of torch.
        notes: what is to be known of it.
    """

    path: Path
    format: str
    int8: bool
    bytes: int
    images: int
    all_images: int
    largest_difference: float
    largest_output: float
    score: Score
    file_score: float
    torch_score: float
    agreement: float | None
    teacher_agreement: float | None
    torch_teacher_agreement: float | None
    latency: dict[int, tuple[Timing, Timing]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    examples: str = "images"

    @property
    def loss(self) -> float:
        """What the file loses: points of a score in percent, or percent of any other score. Negative: it gains."""
        lost = self.torch_score - self.file_score
        lost = lost if self.score.higher_is_better else -lost
        return lost if self.score.unit == "%" else 100 * lost / max(abs(self.torch_score), 1e-12)

    def data(self) -> dict[str, Any]:
        """Everything as plain values."""
        names = (
            "format",
            "int8",
            "bytes",
            "examples",
            "images",
            "all_images",
            "largest_difference",
            "largest_output",
            "agreement",
        )
        name = self.score.name
        return {
            "file": self.path.name,
            **{it: getattr(self, it) for it in names},
            f"test_{name}": self.file_score,
            f"torch_test_{name}": self.torch_score,
            "loss": self.loss,
            "teacher_agreement": self.teacher_agreement,
            "torch_teacher_agreement": self.torch_teacher_agreement,
            "milliseconds": {
                str(batch): {"file": vars(own), "torch": vars(torchs)} for batch, (own, torchs) in self.latency.items()
            },
            "notes": list(self.notes),
        }


def export(
    run: str | Path,
    to: str | Sequence[str],
    *,
    int8: bool = False,
    size: int | None = None,
    preprocessing: bool = False,
    out: str | Path | None = None,
    most_loss: float = MOST_LOSS,
    overrides: Sequence[str] = (),
    trust_code: bool = False,
) -> list[Exported]:
    """Write a finished run's student as files of other formats, and compare each with it on test images or texts.

    The student alone is written, in eval mode, with batch norms folded and a free batch size, of texts also a free
    length; class names, task and preprocessing lie in the file, a tokenizer beside it. Files and ``export.json``
    appear when all of them were read back; where one fails, nothing is left.

    Args:
        run: the folder.
        to: formats by name: "onnx", "torch", "openvino", "executorch".
        int8: write a second file of each that computes in 8 bits, calibrated on training examples.
        size: pixels a side that the files take; None: as the student was trained.
        preprocessing: take bytes (N, C, H, W) uint8 and normalise them inside.
        out: folder of the files; None: ``export`` in the run's.
        most_loss: what int8 may lose: points of a score in percent, percent of any other.
        overrides: ``key=value`` texts over the run's recipe, such as another ``data.root``.
        trust_code: whether code that the folder names may be called, where this user did not make the run.

    Returns:
        What was written, int8 after the float32 file of its format.

    Raises:
        UsageError: where a format or size cannot be, the run is not finished, or a file would be lost.
        LayerlinkError: where the student cannot be written, a package is missing, a file answers otherwise than the
            student, or int8 loses too much.
    """
    names = [to] if isinstance(to, str) else list(dict.fromkeys(to))
    if not names:
        raise UsageError("--to: say at least one format")
    formats = {name: format_named(name) for name in names}
    source = RunFolder(expanded(Path(run)))
    folder = ExportFolder(source.path / "export" if out is None else expanded(Path(out)))
    stem = "student" if size is None else f"student-{size}"
    kinds = [(name, small) for name in names for small in ((False, True) if int8 else (False,))]
    folder.check([_file_name(stem, formats[name], small) for name, small in kinds])
    subject = subject_of(source, overrides, trust_code=trust_code, size=size, preprocessing=preprocessing)
    with folder.unfinished() as part, evaluating(subject.student):
        folder.check(subject.taking.write_beside(part))
        written = list(_write_all(subject, kinds, part, stem, most_loss))
        about = {"run": str(source.path), "machine": subject.machine, "score": subject.task.score.facts()}
        folder.publish(part, [it.data() for it in written], {**about, "folded_batch_norms": subject.folded})
    return [_moved(it, folder.path) for it in written]


def _write_all(
    subject: Subject, kinds: Sequence[tuple[str, bool]], part: Path, stem: str, most_loss: float
) -> Iterator[Exported]:
    """Write, compare and time one file after the other in a folder."""
    student, outputs = read(subject.answer, subject.test, subject.task)
    teacher = read(subject.teacher, subject.test, subject.task)[0] if subject.teacher else None
    for name, small in kinds:
        kind = format_named(name)
        path = part / _file_name(stem, kind, small)
        before = _bytes_in(part)
        opened = _write(subject, kind, small, path)
        own = _bytes_in(part) - before  # weights may lie beside the file
        compared = _compared(subject, name, opened, outputs)
        found = _exported(subject, name, small, path, own, compared, student, teacher, kind)
        _check(found, most_loss)
        found.latency.update(_latency(subject, opened))
        yield found


def _file_name(stem: str, kind: Format, small: bool) -> str:
    return f"{stem}{'-int8' if small else ''}{kind.ending}"


def _write(subject: Subject, kind: Format, small: bool, path: Path) -> Opened:
    """Write a file and open it again."""
    calibration = subject.calibration() if small else None
    facts = json.dumps({**subject.facts, "int8": small})
    kind.write(Job(subject.model, subject.example(), facts, calibration, subject.taking.longest), path)
    opened = kind.read(path)
    if opened.facts != facts:
        raise LayerlinkError(f"{path.name}: what was written of classes and preprocessing does not come back")
    return opened


def _bytes_in(folder: Path) -> int:
    return sum(it.stat().st_size for it in folder.iterdir())


def _compared(subject: Subject, name: str, opened: Opened, outputs: list[Tensor]) -> Compared:
    with converting(f"{name}: the file was written, and its runtime cannot run it here"):
        return compare(
            lambda part: opened.call(*subject.taking.taken(part).values()), subject.test, subject.task, outputs
        )


def _exported(
    subject: Subject,
    name: str,
    small: bool,
    path: Path,
    size: int,
    compared: Compared,
    student: Read,
    teacher: Read | None,
    kind: Format,
) -> Exported:
    file = compared.file
    return Exported(
        *(path, name, small, size, len(subject.test), subject.all_test),
        *(compared.largest_difference, compared.largest_output, subject.task.score, file.score, student.score),
        *(file.agreement(student), file.agreement(teacher), student.agreement(teacher)),
        notes=(kind.note,) if small and kind.note else (),
        examples=subject.test.noun,
    )


def _check(found: Exported, most: float) -> None:
    """Refuse a file that computes something else than the student, or that loses too much in int8."""
    score = found.score
    if not found.int8 and found.largest_difference > ROUNDING * found.largest_output:
        raise LayerlinkError(
            f"{found.format}: the file computes something else than the student: outputs differ by up to "
            f"{found.largest_difference:.2g} where the student's largest is {found.largest_output:.2g}, on "
            f"{found.images:,} test {found.examples}. Nothing was written; another format may do"
        )
    if not found.int8 or found.loss <= most:
        return
    unit = "points" if score.unit == "%" else "percent of it"
    raise LayerlinkError(
        f"int8 of {found.format} loses {found.loss:.2f} {unit}: {score.words} {score.show(found.file_score)} where the "
        f"student has {score.show(found.torch_score)} on {found.images:,} test {found.examples}. Nothing was written; "
        f"--most-loss {found.loss + 0.005:.2f} takes it, and training.int8=true trains the student on for it"
    )


def _latency(subject: Subject, opened: Opened) -> dict[int, tuple[Timing, Timing]]:
    """Of the file with its own inputs; of torch with what its student takes."""

    def both(batch: int) -> tuple[Timing, Timing]:
        some = subject.taking.timed(subject.test, batch)
        own, theirs = tuple(subject.taking.taken(some).values()), subject.taking.fastest(subject.taking.seen(some))
        return latencies(lambda: opened.call(*own), lambda: call_model(subject.student, theirs), SECONDS)

    return {batch: both(batch) for batch in BATCHES}


def _moved(found: Exported, folder: Path) -> Exported:
    return Exported(**{**vars(found), "path": folder / found.path.name})
