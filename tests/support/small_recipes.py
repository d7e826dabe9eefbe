"""Small recipes: scikit-learn's digits, narrow networks, float32 arithmetic; a run takes about a second."""

from __future__ import annotations

NARROW = "arguments: {width: 0.05, batch_norm: true}"
CROP = "augment: crop, crop_padding: 1"


def recipe(model: str, images: int, validation: int, training: str, *more: str, data: str = "") -> str:
    """The text of a recipe.

    Args:
        model: the student.
        images: to train on.
        validation: to validate on.
        training: fields of its section.
        more: further lines, such as teacher, soft and links.
        data: further fields of its section.
    """
    fields = ", ".join(filter(None, ("name: digits, image_size: 32", f"train_images: {images}", data)))
    lines = [f"data: {{{fields}, validation: {validation}}}", f"student: {{model: {model}, {NARROW}}}", *more]
    return "\n".join([*lines, f"training: {{{training}}}", "precision: float32", ""])


def teacher(images: int = 256, validation: int = 100, epochs: int = 1) -> str:
    """The text of a recipe whose student is the others' teacher."""
    return recipe("vgg16", images, validation, f"epochs: {epochs}, batch_size: 64, lr: 0.02")
