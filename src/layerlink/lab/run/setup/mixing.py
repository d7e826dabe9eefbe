"""Whether views of two images fit what is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator

from layerlink.errors import Problem
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.setup.images import Images
from layerlink.losses import loss_kind
from layerlink.tasks import Classification, Segmentation, Task


def mixing_problems(loaded: LoadedRecipe, task: Task, images: Images) -> list[Problem]:
    """What of a recipe cannot learn from views of two images; nothing where it has none."""
    return list(_problems(loaded, task, images)) if loaded.recipe.data.mixing is not None else []


def _problems(loaded: LoadedRecipe, task: Task, images: Images) -> Iterator[Problem]:
    recipe = loaded.recipe
    name = "mixup" if recipe.data.mixup is not None else "cutmix"
    if task.name == Segmentation.name:
        if recipe.data.mixup is not None:
            what = "a pixel of two images has two classes: of maps of labels only cutmix is made"
            yield loaded.problem(("data", "mixup"), what)
    elif task.name != Classification.name:
        what = f"labels of the task {recipe.task.name} are not mixed: leave out {name}"
        yield loaded.problem(("data", name), what)
    elif images.train.has_classes and bool((images.train.labels < 0).any()):
        others = "data.labelled and data.unlabelled"
        what = f"an image without a label cannot be mixed with another: leave out {name}, or {others}"
        yield loaded.problem(("data", name), what)
    if task.name == Segmentation.name:
        return
    for index, link in enumerate(recipe.whole_links):
        if "labels" in loss_kind(link.loss).needs():
            what = f"{link.loss} needs one class of every image, and with {name} a view has two: leave out one of them"
            yield loaded.problem(("links", index), what)
