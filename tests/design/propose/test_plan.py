from __future__ import annotations

import itertools
import random

import pytest
import torch

from layerlink.design.propose.layers import Layer, Layers
from layerlink.design.propose.plan import ALIKE, Plan, even, make_plan, monotone
from layerlink.taps import Tap


def model(*stages: tuple[tuple[int, ...], int], block: bool = False) -> Layers:
    """Layers of stages, each a shape without its channels and how many of it."""
    shapes = [(4, *size) if len(size) == 2 else (*size, 4) for size, count in stages for _ in range(count)]
    made = [Layer(Tap(f"l{order}"), shape, order, block, weighs=True) for order, shape in enumerate(shapes)]
    return Layers(tuple(made), 0, (10,))


def plan(
    teacher: Layers, student: Layers, links: int | None = None, cka: torch.Tensor | None = None, **more: bool
) -> Plan:
    known = torch.zeros(len(teacher.layers), len(student.layers)) if cka is None else cka
    return make_plan(teacher, student, known, lambda _who, _layer: True, lambda _one, _other: True, links, **more)


def places(found: Plan) -> list[tuple[int, int]]:
    return [(one.order, other.order) for one, other in found.pairs]


DEEP = model(((32, 32), 2), ((16, 16), 3), ((8, 8), 4), ((), 1))
FLAT = model(((32, 32), 1), ((16, 16), 1), ((8, 8), 1), ((4, 4), 1), ((), 1))


def test_ends_of_stages_of_one_size_teach_each_other() -> None:
    assert places(plan(DEEP, FLAT)) == [(1, 0), (4, 1), (8, 2)]


def test_fewer_links_are_spread_and_keep_the_last() -> None:
    assert places(plan(DEEP, FLAT, 1)) == [(8, 2)]
    assert places(plan(DEEP, FLAT, 2)) == [(4, 1), (8, 2)]


def test_more_links_go_to_the_longest_stages_and_then_to_what_has_no_positions() -> None:
    twice = model(((32, 32), 1), ((16, 16), 2), ((8, 8), 2), ((), 1))
    assert places(plan(DEEP, twice, 4)) == [(1, 0), (3, 1), (4, 2), (8, 4)]
    assert places(plan(DEEP, twice, 5)) == [(1, 0), (3, 1), (4, 2), (6, 3), (8, 4)]
    assert places(plan(DEEP, twice, 6))[-1] == (9, 5)
    found = plan(DEEP, twice, 60)
    assert (len(found.pairs), found.possible) == (6, 6)
    assert places(plan(DEEP, twice, near_output=True)) == [(1, 0), (4, 2), (8, 4), (9, 5)]


def test_transformers_are_linked_block_by_block() -> None:
    twelve, six = model(((16,), 12), block=True), model(((16,), 6), block=True)
    assert places(plan(twelve, six)) == [(2 * place + 1, place) for place in range(6)]  # as PKD-skip has them
    assert places(plan(twelve, six, 3)) == [(3, 1), (7, 3), (11, 5)]
    assert len(plan(twelve, twelve).pairs) == 6
    assert places(plan(six, twelve, 6)) == [(place, 2 * place + 1) for place in range(6)]


def test_similarity_moves_a_link_to_a_neighbour_and_no_further() -> None:
    forty, two = model(((16,), 40), block=True), model(((16,), 2), block=True)
    cka = torch.zeros(40, 2)
    assert places(plan(forty, two, 2, cka)) == [(19, 0), (39, 1)]
    cka[21, 0] = 0.9
    assert places(plan(forty, two, 2, cka)) == [(21, 0), (39, 1)]
    cka[2, 0] = cka[38, 1] = 0.97  # too far away; and the end, whatever is like it
    assert places(plan(forty, two, 2, cka)) == [(21, 0), (39, 1)]


def test_pairs_that_are_alike_are_left_out_and_told() -> None:
    cka = torch.zeros(10, 5)
    cka[1, 0] = ALIKE
    found = plan(DEEP, FLAT, None, cka)
    assert places(found) == [(4, 1), (8, 2)]
    assert [(one.order, other.order) for one, other in found.alike] == [(1, 0)]


def test_other_sizes_are_paired_by_depth() -> None:
    large = model(((56, 56), 2), ((28, 28), 2), ((14, 14), 2))
    assert places(plan(large, model(((30, 30), 1), ((15, 15), 1), ((7, 7), 1)))) == [(1, 0), (3, 1), (5, 2)]
    assert places(plan(large, model(((30, 30), 2), ((7, 7), 1)))) == [(3, 1), (5, 2)]


def test_a_sequence_and_a_map_of_as_many_positions_are_of_one_size() -> None:
    vit, cnn = model(((17,), 4), block=True), model(((8, 8), 1), ((4, 4), 1), ((2, 2), 1))
    assert places(plan(vit, cnn)) == [(3, 1)]


def test_layers_of_no_use_and_pairs_that_no_adapter_fits_are_passed_over() -> None:
    known = torch.zeros(len(DEEP.layers), len(FLAT.layers))
    found = make_plan(
        DEEP, FLAT, known, lambda who, layer: who == "student" or layer.order != 8, lambda _one, other: other.order != 1
    )
    assert places(found) == [(1, 0), (7, 2)]


def test_only_vectors_are_linked_as_they_are() -> None:
    assert places(plan(model(((), 4)), model(((), 2)))) == [(1, 0), (3, 1)]


@pytest.mark.parametrize("seed", range(30))
def test_the_dynamic_programme_finds_what_trying_everything_finds(seed: int) -> None:
    draw = random.Random(seed)
    rows, columns = draw.randint(1, 4), draw.randint(1, 4)
    gains = {(i, j): draw.random() for i in range(rows) for j in range(columns) if draw.random() < 0.7}
    chains = [
        list(zip(chosen, others, strict=True))
        for size in range(min(rows, columns) + 1)
        for chosen in itertools.combinations(range(rows), size)
        for others in itertools.combinations(range(columns), size)
    ]
    best = max(sum(gains[pair] for pair in chain) for chain in chains if all(pair in gains for pair in chain))
    found = monotone(rows, columns, lambda i, j: gains.get((i, j)))
    assert sum(gains[pair] for pair in found) == pytest.approx(best)
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(found))


@pytest.mark.parametrize(("stages", "links"), [*itertools.product(range(3), (None, 1, 3, 7))])
def test_no_plan_goes_back(stages: int, links: int | None) -> None:
    others = (FLAT, DEEP, model(((32, 32), 5), ((16, 16), 1), ((32, 32), 2)))  # and of one that goes back to its size
    for one, other in itertools.product(others, others[stages : stages + 1]):
        draw = torch.rand(len(one.layers), len(other.layers), generator=torch.Generator().manual_seed(stages)) * 0.9
        pairs = places(plan(one, other, links, draw))
        assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
        assert len(pairs) <= (links or 99)


def test_even_places_are_within_and_rise() -> None:
    for among in range(1, 12):
        for count in range(1, among + 1):
            early, late = even(count, among), even(count, among, late=True)
            for found in (early, late):
                assert found == sorted(set(found))
                assert (len(found), found[-1]) == (count, among - 1)
                assert found[0] >= 0
            assert all(0 <= b - a <= 1 for a, b in zip(early, late, strict=True))
