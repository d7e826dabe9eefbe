"""What a report says and shows of models that were measured."""

from __future__ import annotations

from torch import Tensor

from layerlink.lab.report.chance.verdict import Verdict
from layerlink.lab.report.figures.heat_maps import MOST_CLASSES, confusion_chart, similarity_chart
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.measured.comparison import Measured, Measurements
from layerlink.lab.report.measured.maps import MapsShown, stills_of
from layerlink.lab.report.page.page import Picture, Section, Table
from layerlink.lab.report.tables.models import models_table
from layerlink.lab.report.tables.table import ReportTable

_MOST_CHANGES = 3  # confusions that are named
_TELLING = 5  # percent of a class: so many confusions as are named reach it where a picture tells more than their names


def model_sections(
    gathered: Gathered, measurements: Measurements | None, left_out: str, verdict: Verdict | None
) -> list[Section]:
    """Teacher against student, and how alike their layers are; why not, where nothing was measured."""
    if measurements is None:
        return [Section("Teacher against student", text=left_out)] if left_out else []
    table, said = models_table(measurements), f" {left_out}" if left_out else ""
    leader = verdict.leader if verdict else ""
    baseline = gathered.baseline.name if gathered.baseline else ""
    sections = [
        Section(
            table.heading,
            table.shown,
            tuple(_confusions(measurements, leader)),
            text=_ratios(measurements, leader) + _confused(measurements, leader, baseline) + said,
        )
    ]
    if measurements.shown is not None:
        sections.append(_map_section(measurements, measurements.shown))
    if measurements.similarity:
        chart = similarity_chart(measurements.similarity, title="Linear CKA")
        text = (
            f"Linear CKA (Kornblith et al. 2019) of teacher and student over {measurements.images} validation "
            f"{measurements.noun}: 1 for layers that see them alike up to rotation and scale. Bold: the recipe links "
            "this pair. One seed a row; before: as training began."
        )
        picture = Picture("Similarity of layers to the teacher's, before and after training", chart, wide=True)
        sections.append(Section("Similarity of layers", pictures=(picture,), text=text))
    return sections


def _map_section(measurements: Measurements, shown: MapsShown) -> Section:
    """What models answer to some images, beside the truth."""
    models = [measurements.teacher, *measurements.students]
    maps = {
        model.name: model.maps for model in models if model.maps is not None and model.maps.shape == shown.truth.shape
    }
    text = (
        f"{len(shown.places)} test images, evenly from the whole set and not chosen; of each row its first seed. "
        "Colours are told apart with every kind of colour vision."
    )
    return Section("Maps of labels", text=text, stills=stills_of(shown, maps, measurements.classes))


def _ratios(measurements: Measurements, leader: str) -> str:
    """How much smaller and faster the leading student is."""
    teacher = measurements.teacher
    student = _leading(measurements, leader)
    speeds = " and ".join(
        f"{old.median / new.median:.1f} times as fast at a batch of {new.batch}"
        for old, new in zip(teacher.latency, student.latency, strict=True)
    )
    size = _compared(teacher.parameters / student.parameters, "parameters")
    work = _compared(teacher.flops / student.flops, "FLOPs")
    return (
        f"“{student.name}” has {size} and takes {work}; it is {speeds}."
        f"{' In the confusion a cell is percent of its row.' if _confusions(measurements, leader) else ''}"
    )


def _compared(ratio: float, what: str) -> str:
    """How much fewer than the teacher, or how much more."""
    if ratio >= 1:
        return f"{ratio:.1f} times fewer {what} than the teacher"
    return f"{1 / ratio:.1f} times the teacher's {what}"


def _confusions(measurements: Measurements, leader: str) -> list[Picture]:
    """The leader's, where it can be read and says more than a sentence; all stand in ``tables/confusions.csv``."""
    student = _leading(measurements, leader)
    if student.confusion is None or not 2 < len(measurements.classes) <= MOST_CLASSES:
        return []
    if sum(share >= _TELLING for _, _, share in _most_confused(student.confusion)) < _MOST_CHANGES:
        return []
    heading = f"Confusion of {student.name}"
    chart = confusion_chart(
        student.confusion.tolist(),
        measurements.classes,
        down="true class",
        across="student's answer",
        title=heading,
        noun=measurements.noun,
    )
    return [Picture(heading, chart)]


def _leading(measurements: Measurements, leader: str) -> Measured:
    return next((it for it in measurements.students if it.name == leader), measurements.students[0])


def _most_confused(counts: Tensor) -> list[tuple[int, int, float]]:
    """The confusions of the largest share of their class, the largest first: true class, answer, percent."""
    shares = 100 * counts.double() / counts.sum(1, keepdim=True).clamp_min(1)
    every = shares.fill_diagonal_(0.0).flatten().tolist()
    first = sorted(range(len(every)), key=lambda place: -every[place])[:_MOST_CHANGES]
    return [(*divmod(place, len(shares)), every[place]) for place in first if every[place] > 0]


def _confused(measurements: Measurements, leader: str, baseline: str) -> str:
    """The leader's confusions in words, where there is no picture of them, and what changed."""
    counts, names = _leading(measurements, leader).confusion, measurements.classes
    changed = _changed_confusions(measurements, leader, baseline)
    if counts is None or _confusions(measurements, leader) or not (found := _most_confused(counts)):
        return changed
    said = "; ".join(f"{names[row]} for {names[column]} in {share:.1f} %" for row, column, share in found)
    return f" It takes {said} of the class{', and others less often' if len(names) > 2 else ''}.{changed}"


def _changed_confusions(measurements: Measurements, leader: str, baseline: str) -> str:
    """The confusions that differ most between the leader and the baseline, in words; empty where these are one."""
    other = next((it for it in measurements.students if it.name == baseline), None)
    student = _leading(measurements, leader)
    if other is None or other is student or student.confusion is None or other.confusion is None:
        return ""
    shares = [100 * it.double() / it.sum(1, keepdim=True).clamp_min(1) for it in (student.confusion, other.confusion)]
    apart = (shares[0] - shares[1]).fill_diagonal_(0.0)
    places = apart.abs().flatten().topk(min(_MOST_CHANGES, apart.numel())).indices.tolist()
    names = measurements.classes
    said = []
    for row, column in (divmod(place, len(names)) for place in places):
        new, old = float(shares[0][row, column]), float(shares[1][row, column])
        if abs(new - old) >= 1:
            said.append(f"{names[row]} taken for {names[column]}: {new:.0f} % instead of {old:.0f} %")
    return f" Against “{other.name}” these confusions changed most: {'; '.join(said)}." if said else ""


def more_data(measurements: Measurements | None) -> list[ReportTable]:
    """Tables for which the page has pictures."""
    if measurements is None:
        return []
    alike = tuple(
        {"pair": cell.pair, "student": cell.when, "cka": cell.value, "linked": cell.linked}
        for cell in measurements.similarity
    )
    pairs = [
        {"model": it.name, "rows": rows, "row": measurements.classes[i], "column": measurements.classes[j], "images": n}
        for it in (measurements.teacher, *measurements.students)
        for rows, counts in (("true class", it.confusion), ("teacher's answer", it.with_teacher))
        if counts is not None
        for i, line in enumerate(counts.tolist())
        for j, n in enumerate(line)
    ]
    empty = Table((), ())
    return [ReportTable("confusions", "", empty, tuple(pairs)), ReportTable("similarity", "", empty, alike)]
