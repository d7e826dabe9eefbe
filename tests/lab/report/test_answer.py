"""The sentences on top of a report, made from runs with numbers of one's choice."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from layerlink.errors import UsageError
from layerlink.lab.report.answer import answer, differences_of
from layerlink.lab.report.gather.rows import gather

FakeRun = Callable[..., Path]
TEACHER = "teacher={model: vgg16, weights: t}"


def two(tmp_path: Path, fake_run: FakeRun, hard: list[float], soft: list[float]) -> str:
    for name, values, more in (("hard", hard, ()), ("soft", soft, (TEACHER, "soft.temperature=3"))):
        for seed, value in enumerate(values):
            fake_run(tmp_path / f"{name}-{seed}", seed, value, *more)
    return answer(gather([tmp_path]))


@pytest.mark.parametrize(
    ("hard", "soft", "expected"),
    [
        (
            [60.0, 60.2, 60.1],
            [70.0, 70.4, 70.2],
            "“soft” is best: it reads 70.2 % (sd 0.2, n = 3) of the test images right, 10.1 points more than “hard” "
            "(95 % interval 9.8 to 10.4, n = 3).",
        ),
        (
            [60.0, 62.0],
            [61.0, 63.5],
            "“soft” leads: it reads 62.2 % (sd 1.8, n = 2) of the test images right, 1.2 points more than “hard” "
            "(95 % interval \N{MINUS SIGN}1.9 to 4.4, n = 2). Not told apart from “hard” by so few seeds: “soft” "
            "(+1.25: about 1 more seed would tell).",
        ),
        (
            [60.0],
            [70.0],
            "“soft” leads: it reads 70.0 % (one seed) of the test images right, 10.0 points more than “hard”. Each row "
            "has a single seed, so a difference of a point or two may be luck.",
        ),
        (
            [60.0, 61.0],
            [70.0],
            "“soft” leads: it reads 70.0 % (one seed) of the test images right, 10.0 points more than “hard”. Too few "
            "seeds to know the spread: a difference of a point or two may be luck.",
        ),
    ],
)
def test_the_answer_says_no_more_than_the_numbers(
    tmp_path: Path, fake_run: FakeRun, hard: list[float], soft: list[float], expected: str
) -> None:
    assert two(tmp_path, fake_run, hard, soft) == expected


def test_the_answer_names_the_range_that_does_not_matter(tmp_path: Path, fake_run: FakeRun) -> None:
    values = {0.5: 50.0, 1.0: 70.0, 2.0: 70.3, 3.0: 70.1, 40.0: 40.0}
    noise = (0.002, -0.003, 0.001)
    for temperature, value in values.items():
        for seed in (0, 1, 2):
            more = (TEACHER, f"soft.temperature={temperature}")
            fake_run(tmp_path / f"t{temperature}-{seed}", seed, value + 0.2 * seed + noise[seed] * value, *more)
    for seed in (0, 1, 2):
        fake_run(tmp_path / f"labels-{seed}", seed, 60 + 0.2 * seed)
    said = answer(gather([tmp_path]))
    assert "“t2.0” leads" in said
    assert "“t1.0”, “t2.0” and “t3.0” are above “labels” by more than chance." in said
    assert "“t0.5” and “t40.0” are below “labels” by more than chance." in said
    # The spread counts as that of 400 images, 0.25 / sqrt(6): 4.303 / sqrt(3) of it are 0.25 points. So 3 (-0.20) is
    # not told from 2, and 1 (-0.30) is: by its own comparison, if not after a correction for four.
    reach = 4.303 * 0.25 / math.sqrt(18)
    said_most = f"by their 95 % intervals it may be up to {0.2 + reach:.1f} points."
    assert f"Between 2 and 3 the temperature makes no difference that these seeds can tell: {said_most}" in said


def test_another_row_may_be_what_the_others_are_compared_with(tmp_path: Path, fake_run: FakeRun) -> None:
    for name, values, more in (
        ("labels", (60.0, 61.0, 62.0), ()),
        ("kd", (63.0, 64.1, 65.0), (TEACHER, "soft.temperature=3")),
        ("links", (64.0, 65.2, 66.1), (TEACHER, "soft.temperature=4")),
    ):
        for seed, value in enumerate(values):
            fake_run(tmp_path / f"{name}-{seed}", seed, value, *more)
    gathered = gather([tmp_path])
    assert "4.1 points more than “labels”" in answer(gathered)
    said = answer(gathered.compared_with("kd"))
    assert "1.1 points more than “kd” (95 % interval" in said
    assert "“labels” is below “kd” by more than chance." in said
    differences = differences_of(gathered.compared_with("kd"))
    assert {name: round(it.mean, 9) for name, it in differences.items()} == {
        "labels": pytest.approx(-(3.0 + 3.1 + 3.0) / 3),
        "links": pytest.approx((1.0 + 1.1 + 1.1) / 3),
    }


def test_a_row_to_compare_with_must_be_there_and_finished(tmp_path: Path, fake_run: FakeRun) -> None:
    fake_run(tmp_path / "labels-0", 0, 60.0)
    fake_run(tmp_path / "links-0", 0, 61.0, TEACHER)
    (tmp_path / "links-0" / "result.json").unlink()
    gathered = gather([tmp_path])
    with pytest.raises(UsageError, match=r"unknown row 'label'\. Did you mean labels\?"):
        gathered.compared_with("label")
    with pytest.raises(UsageError, match="row 'links' has no finished run to compare the others with"):
        gathered.compared_with("links")


def many(tmp_path: Path, fake_run: FakeRun, leads: dict[str, tuple[float, ...]], validation: dict[str, float]) -> str:
    """Rows whose accuracy is that of labels plus a lead a seed."""
    base = (60.0, 63.0, 58.0)
    for seed in range(len(next(iter(leads.values())))):
        fake_run(tmp_path / f"labels-{seed}", seed, base[seed])
        for number, (name, lead) in enumerate(leads.items()):
            more = {"validation_accuracy": validation[name]} if name in validation else {}
            value = base[seed] + lead[seed]
            fake_run(tmp_path / f"{name}-{seed}", seed, value, TEACHER, f"soft.weight={number + 1}", **more)
    return answer(gather([tmp_path]))


def test_a_steady_difference_of_two_seeds_is_open_never_none(tmp_path: Path, fake_run: FakeRun) -> None:
    leads = {"links": (3.88, 3.98), **{f"other{k}": (0.1 * k, -0.5 * k) for k in range(1, 8)}}
    said = many(tmp_path, fake_run, leads, {})
    assert "3.9 points more than “labels” (95 % interval 3.0 to 4.8, n = 2)" in said
    assert "8 rows are not told apart from “labels” by so few seeds" in said
    assert "the first to be told would be “links” (+3.93: about 1 more seed would tell)" in said


def test_what_is_told_and_what_is_open_stand_apart(tmp_path: Path, fake_run: FakeRun) -> None:
    leads = {"links": (4.0, 4.2, 3.9), "soft": (3.0, 3.3, 2.7), "heavy": (-9.0, -9.4, -8.9), "dull": (0.9, -0.6, 0.5)}
    said = many(tmp_path, fake_run, leads, {})
    assert "“links” and “soft” are above “labels” by more than chance." in said
    assert "“heavy” is below “labels” by more than chance." in said
    assert "Not told apart from “labels” by so few seeds: “dull” (+0.27: about 95 more seeds would tell)." in said
    assert "“links” leads" in said
    assert "Whether “links” is better than “dull” is open (+3.77: about 1 more seed would tell)." in said


def test_another_choice_by_validation_images_is_told(tmp_path: Path, fake_run: FakeRun) -> None:
    leads = {"links": (4.0, 4.2, 3.9), "soft": (3.0, 3.3, 2.7)}
    said = many(tmp_path, fake_run, leads, {"soft": 99.0})
    assert (
        "Chosen by validation images, which is how to choose one to use, “soft” is first: "
        "63.3 % (sd 2.8, n = 3) of the test images." in said
    )
    assert "validation" not in many(tmp_path / "same", fake_run, leads, {})


def test_a_steady_step_along_an_axis_is_not_called_none(tmp_path: Path, fake_run: FakeRun) -> None:
    leads = {**{f"w{k}": (0.1, 0.1) for k in range(1, 9)}, "w9": (3.98, 4.08)}
    said = many(tmp_path, fake_run, leads, {})
    # +3.93 from w8 to w9: p = 0.01, and 0.09 after the correction for eight.
    assert "9 rows are not told apart" in said
    assert "the weight makes no difference" not in said


def test_a_row_with_one_seed_among_many_is_named(tmp_path: Path, fake_run: FakeRun) -> None:
    for seed, (hard, soft) in enumerate(((60.0, 64.0), (61.0, 65.5), (62.0, 66.0))):
        fake_run(tmp_path / f"hard-{seed}", seed, hard)
        fake_run(tmp_path / f"soft-{seed}", seed, soft, TEACHER, "soft.temperature=3")
    fake_run(tmp_path / "late-0", 0, 61.0, TEACHER, "soft.temperature=4")
    said = answer(gather([tmp_path]))
    assert "“late” is compared with “hard” by a single seed, so the spread is unknown." in said


def test_a_score_in_no_steps_that_is_apart_by_one_number_is_not_told(tmp_path: Path, fake_run: FakeRun) -> None:
    score = {"name": "perplexity", "words": "perplexity", "unit": "", "higher_is_better": False, "digits": 2}
    for seed in range(3):
        for name, value, more in (("hard", 80.0, ()), ("soft", 70.0, (TEACHER,))):
            numbers = {"test_perplexity": value, "validation_perplexity": value, "score": score}
            fake_run(tmp_path / f"{name}-{seed}", seed, 50.0, *more, **numbers)
    gathered = gather([tmp_path])
    assert (differences_of(gathered)["soft"].p, differences_of(gathered)["soft"].told) == (None, None)
    said = answer(gathered)
    assert "“soft” leads: it has a perplexity of 70.00" in said
    assert "“soft” is as far from “hard” in every seed, to the last digit" in said


def test_points_are_of_percent_alone(tmp_path: Path, fake_run: FakeRun) -> None:
    score = {"name": "perplexity", "words": "perplexity", "unit": "", "higher_is_better": False, "digits": 2}
    for name, value, more in (("hard", 80.0, ()), ("soft", 70.0, (TEACHER,))):
        numbers = {"test_perplexity": value, "validation_perplexity": value}
        fake_run(tmp_path / f"{name}-0", 0, 50.0, *more, **numbers, score=score)
    assert "Each row has a single seed, so a difference may be luck." in answer(gather([tmp_path]))


def test_seeds_of_several_processors_go_into_one_report(tmp_path: Path, fake_run: FakeRun) -> None:
    for seed, precision in enumerate(("bfloat16", "float32", "float32")):
        for name, value, more in (("hard", 60.0, ()), ("soft", (64.0, 64.25, 63.75)[seed], (TEACHER,))):
            run = fake_run(tmp_path / f"{name}-{seed}", seed, value, *more)
            known = {"hardware": f"CPU {precision}", "device": "cpu", "precision": precision}
            (run / "environment.json").write_text(json.dumps(known))
    found = differences_of(gather([tmp_path]))["soft"]
    assert (found.paired, found.n, found.mean, found.sd) == (True, 3, pytest.approx(4), pytest.approx(0.25))


@pytest.mark.parametrize(
    ("changed", "paired"),
    [
        ({}, True),
        ({"hardware": "Another CPU, 8 cores, 8 threads"}, False),
        ({"hardware": "A CPU, 8 cores, 1 threads"}, True),
        ({"precision": "bfloat16"}, False),
        ({"device": "cuda:1"}, False),
        ({"commit": "other"}, True),
    ],
)
def test_a_seed_pairs_on_one_kind_of_processor_alone(
    tmp_path: Path, fake_run: FakeRun, changed: dict[str, str], paired: bool
) -> None:
    hard, soft = (60.0, 63.0, 58.0), (64.0, 67.25, 61.75)
    known = {"hardware": "A CPU, 2 cores, 2 threads", "device": "cpu", "precision": "float32", "commit": "one"}
    for seed in range(3):
        for name, value, more, there in (("hard", hard, (), {}), ("soft", soft, (TEACHER,), changed)):
            run = fake_run(tmp_path / f"{name}-{seed}", seed, value[seed], *more)
            (run / "environment.json").write_text(json.dumps(known | there))
    found = differences_of(gather([tmp_path]))["soft"]
    assert (found.paired, found.test) == ((True, "paired t") if paired else (False, "Welch"))
    # By hand: the differences 4, 4.25, 3.75; or variances 19/3 and 7.583 of the rows, over three seeds.
    sd = 0.25 if paired else math.sqrt(statistics.variance(hard) + statistics.variance(soft))
    assert (found.mean, found.sd) == (pytest.approx(13 / 3 - 1 / 3), pytest.approx(sd))
    assert found.told is paired
