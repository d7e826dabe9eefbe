from __future__ import annotations

import torch

import layerlink as ll
from foreign import Foreign, images
from layerlink.transfer import Link, Tap


def test_every_link_is_reported_with_shapes_or_reasons() -> None:
    reports = ll.inspect_links(
        Foreign(8),
        Foreign(8),
        ["left : mse", "nope : mse", "relu -> left : mse", "left : oops", "left : mse"],
        images(2),
    )
    assert [report.index for report in reports] == [0, 1, 2, 3, 4]
    assert reports[0].problems == ()
    assert reports[0].teacher_shape == reports[0].student_shape == (2, 8, 8, 8)
    assert len(reports[1].problems) == 2  # neither model has it
    assert "runs 3 times" in reports[2].problems[0]
    assert reports[3].problems[0].startswith("unknown loss 'oops'. Known: kd, abkd, ttm")
    assert "stands here twice" in reports[4].problems[0]


def test_a_report_names_its_link_and_the_model_that_is_meant() -> None:
    link = Link(Tap("left"), Tap("left"))
    reports = ll.inspect_links(Foreign(), Foreign(), [link, "relu -> stem : mse", "stem -> relu : mse"], images(2))
    assert [report.text for report in reports] == ["left : mse", "relu -> stem : mse", "stem -> relu : mse"]
    runs = "layer 'relu' runs 3 times in one pass. Say which run: relu#0, relu#1, relu#2"
    assert [report.problems for report in reports] == [(), (f"the teacher's {runs}",), (f"the student's {runs}",)]
    (report,) = ll.inspect_links(Foreign(), Foreign(), ["nope : mse"], images(2))
    assert [problem.partition(" has no layer 'nope'")[0] for problem in report.problems] == [
        "the teacher",
        "the student",
    ]


def test_the_teacher_is_run_in_eval_mode_and_the_student_in_its_own() -> None:
    seen = []
    teacher, student = Foreign().train(), Foreign().train()
    for model in (teacher, student):
        model.norm.register_forward_hook(lambda module, _args, _output: seen.append(module.training))
    ll.inspect_links(teacher, student, ["left : mse"], images(2))
    ll.inspect_links(teacher, student.eval(), ["left : mse"], images(2))
    assert seen == [False, True, False, False]


def test_models_and_random_state_are_left_as_they_were() -> None:
    teacher, student = Foreign().train(), Foreign().train()
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in (teacher, student)]
    sample, before = images(2), torch.get_rng_state()
    ll.inspect_links(teacher, student, ["left : mse"], sample)
    assert torch.get_rng_state().equal(before)
    for model, state in zip((teacher, student), states, strict=True):
        assert model.training
        assert not model._buffers  # its layers' own are not put into it
        assert set(model.state_dict()) == set(state)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
