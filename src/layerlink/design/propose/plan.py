"""Which layer teaches which: structure decides, similarity ranks inside.

A student that is not trained yet sees images by chance, and how like its layers are to the teacher's says little of
what they will become; so who teaches whom goes by size and depth:

1. Stages are aligned. Stages of the same size are paired, in order: an earlier stage of the teacher never teaches a
   later one of the student. As many pairs as can be, then those that stand at the most similar depths, then the most
   similar ones (dynamic programming). Where no sizes are equal, stages are paired by their depth alone.
2. A stage's end teaches a stage's end: there everything that a stage computes has come together.
3. More links than stages go to the stages with the most layers. In a stage they are spread evenly over the student's
   steps; each of these gets the teacher's step at the same share of the stage. Similarity weighs a tenth of the stage's
   length: it moves a link to a neighbour in a deep stage, and no further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from layerlink.adapters.tokens import MOST_CLASS_TOKENS
from layerlink.design.propose.layers import Layer, Layers, Stage

ALIKE = 0.98  # CKA from which a pair has nothing to teach
BY_DEPTH, BY_LIKENESS = 0.25, 0.1  # a pair counts 1; what its depths and its CKA add at the most
MOST_OF_ONE = 6  # links by default where there is one pair of stages

Pair = tuple[Layer, Layer]  # the teacher's, the student's


@dataclass
class Plan:
    """What to link.

    Args:
        pairs: in order.
        alike: pairs that would be among them, had they anything to teach.
        possible: how many pairs there could be at the most.
    """

    pairs: list[Pair] = field(default_factory=list)
    alike: list[Pair] = field(default_factory=list)
    possible: int = 0


@dataclass(frozen=True)
class _Paired:
    """The steps of a stage of each."""

    teacher: tuple[Layer, ...]
    student: tuple[Layer, ...]

    @property
    def most(self) -> int:
        return min(len(self.teacher), len(self.student))


def make_plan(
    teacher: Layers,
    student: Layers,
    cka: Tensor,
    usable: Callable[[str, Layer], bool],
    fits: Callable[[Layer, Layer], bool],
    links: int | None = None,
    *,
    near_output: bool = False,
    zoom: float = 1.0,
) -> Plan:
    """Pairs of layers in order: neither the teacher's nor the student's ever goes back.

    Args:
        teacher: its layers.
        student: its layers.
        cka: (teacher, student), of their layers; nan where it is not known.
        usable: whether a layer of the "teacher" or "student" has anything to say.
        fits: whether the student's layer can be brought to the teacher's shape.
        links: how many; by default one a stage, and of a single stage, such as a transformer's, one a step of the
            student, six at most.
        near_output: also the end of the layers without positions, where there are others.
        zoom: the teacher's pixels a side over the student's; sizes are compared as shares of the image.
    """
    stages = _stages("teacher", teacher, usable), _stages("student", student, usable)
    plan, paired = Plan(), list[_Paired]()
    for positions in (True, False):  # layers without positions are near the output, which softened outputs teach
        if paired and not near_output and (links is None or links <= sum(it.most for it in paired)):
            break
        sides = [[stage for stage in side if bool(stage.end.size) is positions] for side in stages]
        for one, other in _aligned(sides[0], sides[1], cka, fits, zoom):
            pair = one.best, other.best
            if _at(cka, *pair) >= ALIKE:
                plan.alike.append(pair)
            else:
                paired.append(_Paired(one.steps, other.steps))
    plan.possible = sum(it.most for it in paired)
    for it, count in zip(paired, _counts(paired, links), strict=True):
        for pair in _spread(it, count, cka):
            (plan.alike if _at(cka, *pair) >= ALIKE else plan.pairs).append(pair)
    return plan


def _stages(who: str, layers: Layers, usable: Callable[[str, Layer], bool]) -> list[Stage]:
    """The stages that have something to link. Beside stages of blocks those without any are a stem or a head."""
    looked = [replace(it, layers=tuple(layer for layer in it.layers if usable(who, layer))) for it in layers.stages]
    stages = [it for it in looked if it.layers]
    of_blocks = [it for it in stages if any(step.block for step in it.steps)]
    if len(of_blocks) > 1 or any(it.end.kind == "sequence" for it in of_blocks):
        stages = [it for it in stages if it in of_blocks or not it.end.size]
    return stages


def _aligned(
    teacher: Sequence[Stage],
    student: Sequence[Stage],
    cka: Tensor,
    fits: Callable[[Layer, Layer], bool],
    zoom: float,
) -> list[tuple[Stage, Stage]]:
    possible = {
        (i, j): same_size(one.best, other.best, zoom)
        for i, one in enumerate(teacher)
        for j, other in enumerate(student)
        if fits(one.best, other.best)
    }
    if any(possible.values()):
        possible = {places: same for places, same in possible.items() if same}

    def gain(i: int, j: int) -> float | None:
        if (i, j) not in possible:
            return None
        one, other = teacher[i], student[j]
        near = 1 - abs(one.depth - other.depth)
        return 1 + BY_DEPTH * near + BY_LIKENESS * _at(cka, one.best, other.best)

    return [(teacher[i], student[j]) for i, j in monotone(len(teacher), len(student), gain)]


def monotone(rows: int, columns: int, gain: Callable[[int, int], float | None]) -> list[tuple[int, int]]:
    """The places, both rising, whose gains add up to the most; None is no pair.

    >>> monotone(2, 3, lambda i, j: [[1, 5, None], [2, 2, 2]][i][j])
    [(0, 1), (1, 2)]
    """
    best: list[list[tuple[float, tuple[tuple[int, int], ...]]]]
    best = [[(0.0, ()) for _ in range(columns + 1)] for _ in range(rows + 1)]
    for i in range(rows):
        for j in range(columns):
            ways = [best[i][j + 1], best[i + 1][j]]
            value = gain(i, j)
            if value is not None:
                total, places = best[i][j]
                ways.append((total + value, (*places, (i, j))))
            best[i + 1][j + 1] = max(ways, key=lambda way: way[0])
    return list(best[rows][columns][1])


def same_size(one: Layer, other: Layer, zoom: float = 1.0) -> bool:
    """Whether two layers have the same positions: as maps, or as sequences, class tokens at the front not counted.

    >>> from layerlink.taps import Tap
    >>> image, tokens = (Layer(Tap("a"), shape, 0, False, True) for shape in ((64, 4, 4), (17, 32)))
    >>> same_size(image, tokens), same_size(image, image, zoom=2)
    (True, False)
    """
    if "vector" in (one.kind, other.kind):
        return one.kind == other.kind
    if one.kind == other.kind == "map":
        return one.size == tuple(round(zoom * side) for side in other.size)
    return abs(math.prod(one.size) - zoom**2 * math.prod(other.size)) <= MOST_CLASS_TOKENS


def _counts(paired: Sequence[_Paired], links: int | None) -> list[int]:
    """How many links each pair of stages gets."""
    if not paired:
        return []
    if links is None:
        return [min(paired[0].most, MOST_OF_ONE)] if len(paired) == 1 else [1] * len(paired)
    if links < len(paired):  # spread evenly; the first stages are the most alike from the start
        chosen = set(even(links, len(paired), late=True))
        return [int(place in chosen) for place in range(len(paired))]
    counts = [1] * len(paired)
    while sum(counts) < links:
        room = [it.most / count if count < it.most else 0.0 for it, count in zip(paired, counts, strict=True)]
        if not any(room):
            break
        counts[room.index(max(room))] += 1
    return counts


def even(count: int, among: int, *, late: bool = False) -> list[int]:
    """So many places of ``among``, evenly spread, the last among them; ``late``: of two that are as even the later one.

    >>> even(3, 6), even(2, 5), even(2, 5, late=True), even(4, 5, late=True)
    ([1, 3, 5], [1, 4], [2, 4], [1, 2, 3, 4])
    """
    return [(step * among + (count - 1) * late) // count - 1 for step in range(1, count + 1)]


def _spread(it: _Paired, count: int, cka: Tensor) -> list[Pair]:
    """So many pairs of a stage, the ends among them."""
    if not count:
        return []
    student = [it.student[place] for place in even(count, len(it.student))]
    shares = [(it.student.index(layer) + 1) / len(it.student) for layer in student]

    def gain(i: int, j: int) -> float | None:
        if (i == len(it.teacher) - 1) != (j == count - 1):
            return None  # the ends teach each other, and nobody else
        away = abs((i + 1) / len(it.teacher) - shares[j])
        return 1 - away + BY_LIKENESS * _at(cka, it.teacher[i], student[j])

    places = monotone(len(it.teacher), count, gain)
    return [(it.teacher[i], student[j]) for i, j in places]


def _at(cka: Tensor, teacher: Layer, student: Layer) -> float:
    value = float(cka[teacher.order, student.order])
    return value if math.isfinite(value) else 0.0
