from __future__ import annotations

from collections.abc import Callable

import torch

from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.learning.step import losses_of, taught_for
from layerlink.lab.run.setup import set_up
from layerlink.taps import OUTPUT, Tap

Make = Callable[..., LoadedRecipe]


def test_students_share_one_pass_which_gives_what_any_of_them_asks(recipe: Make) -> None:
    soft = set_up(recipe("links=[]", links=True))
    links = set_up(recipe("soft=null", links=True), images=soft.images)
    passes: list[int] = []
    assert soft.taught_by is not None
    soft.taught_by.model.register_forward_pre_hook(lambda _module, args: passes.append(len(args[0])))
    batch = next(soft.batches.epoch(0))
    taught = taught_for(soft.taught_by, [soft, links], batch)
    assert taught is not None
    assert taught.values.keys() == {OUTPUT, Tap("group2"), Tap("group5")}
    assert passes == [64]
    alone = losses_of(links, batch, taught_for(links.taught_by, [links], batch))
    assert torch.equal(losses_of(links, batch, taught).terms["group5 : mse"], alone.terms["group5 : mse"])


def test_a_link_that_ends_inside_an_epoch_asks_for_nothing_from_there_on(recipe: Make) -> None:
    setup = set_up(recipe("soft=null", 'links=["group2 : mse, until=0.5"]', links=True))
    asked = [taught_for(setup.taught_by, [setup], batch) is not None for batch in setup.batches.epoch(0)]
    assert asked == [True, True, False, False]
