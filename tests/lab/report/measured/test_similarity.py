from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hsic import hsic_cka
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.report.measured.similarity import (
    Alikeness,
    linked_pairs,
    namesakes,
    pair_name,
)
from layerlink.lab.run.setup.setup import set_up
from layerlink.taps import Tap


def test_pairs_are_the_links_and_the_namesakes_with_parameters(study: Path) -> None:
    recipe = load_recipe(str(study / "links-0" / "recipe.yaml")).recipe
    assert [pair_name(pair) for pair in linked_pairs([recipe, recipe])] == ["group2", "group5"]
    one = nn.ModuleDict({"a": nn.Linear(2, 2), "pool": nn.ReLU(), "b": nn.Linear(2, 2)})
    other = nn.ModuleDict({"b": nn.Linear(2, 3), "pool": nn.ReLU()})
    assert namesakes(one, other) == [(Tap("b"), Tap("b"))]
    assert pair_name((Tap("layer3", call=1), Tap("group3"))) == "layer3#1 -> group3"


def test_a_student_is_compared_as_it_began_and_as_it_ended(study: Path) -> None:
    setup = set_up(load_recipe(str(study / "links-0" / "recipe.yaml")))
    student, teacher = setup.distiller.student, setup.teacher
    assert teacher is not None
    alike = Alikeness(setup, teacher, linked_pairs([setup.recipe]))
    fresh = {name: value.clone() for name, value in student.state_dict().items()}
    cells = alike.of_student("links", setup, study / "links-0")
    assert alike.count == 100  # all there are
    assert [cell.when for cell in cells] == ["links, before"] * 7 + ["links, after"] * 7
    assert [cell.pair for cell in cells[:7]] == [*(f"group{number}" for number in range(1, 6)), "hidden", "output"]
    assert [cell.pair for cell in cells if cell.linked] == ["group2", "group5"] * 2
    assert all(0 <= cell.value <= 1 for cell in cells)
    trained = student.state_dict()
    assert any(not torch.equal(fresh[name], trained[name]) for name in fresh)
    # The same by hand, for one layer of the trained student, without the recorder.
    seen = {}
    for model in (teacher.model, student):
        model.eval()
        handle = model.get_submodule("group5").register_forward_hook(
            lambda _m, _i, out, model=model: seen.update({model: out.clone()})
        )
        with torch.no_grad():
            model(setup.images.views(setup.images.validation.images))
        handle.remove()
    expected = hsic_cka(*(value.flatten(1).double().numpy() for value in seen.values()))
    found = next(cell.value for cell in cells if (cell.pair, cell.when) == ("group5", "links, after"))
    assert found == pytest.approx(expected, rel=1e-5)


def test_more_pixels_make_fewer_images(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlink.lab.report.measured.similarity._MEMORY", 400_000)
    setup = set_up(load_recipe(str(study / "links-0" / "recipe.yaml")))
    assert setup.teacher is not None
    assert 2 <= Alikeness(setup, setup.teacher, []).count < 100
