from __future__ import annotations

import torch
from foreign import Foreign, images

import layerlink as ll


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
    assert reports[3].problems == ("unknown loss 'oops'. Known: mse.",)
    assert "stands here twice" in reports[4].problems[0]


def test_models_and_random_state_are_left_as_they_were() -> None:
    teacher, student = Foreign().train(), Foreign().train()
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in (teacher, student)]
    sample, before = images(2), torch.get_rng_state()
    ll.inspect_links(teacher, student, ["left : mse"], sample)
    assert torch.get_rng_state().equal(before)
    for model, state in zip((teacher, student), states, strict=True):
        assert model.training
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
