"""What a teacher's stored tensors depend on, as keys: another key is another store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data import Views
from layerlink.lab.recipe.models import TeacherSection
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps import OUTPUT, Observed, Tap
from layerlink.teachers.store import FORMAT, StoreDtype
from layerlink.teachers.topk import TopK


@dataclass(frozen=True)
class StoreKeys:
    """Makes the keys of one teacher on one set of images.

    Args:
        teacher: what the model's side contributes: weights, architecture, where the logits are.
        seen: what the images' side contributes, and the arithmetic.
        view: what decides the augmentation, but for the epoch; empty where there is none.
    """

    teacher: Mapping[str, Any]
    seen: Mapping[str, Any]
    view: Mapping[str, Any]

    @classmethod
    def of(cls, setup: Setup, teacher: Observed) -> StoreKeys:
        """The keys of the teacher as the setup runs it; every weight is read for that, once."""
        stamp, views = setup.images.stamp, setup.images.views
        view: dict[str, Any] = {}
        if views.augment != "none":
            view = {"augment": views.augment, "seed": views.seed}
        if isinstance(views, Views) and "crop" in views.augment:
            view["crop_padding"] = views.padding
        if isinstance(views, Views) and views.more is not None:
            view |= {"seed": views.seed, "more": views.more.facts()}
        return cls(
            teacher={
                "architecture": hashlib.sha256(repr(teacher.model).encode()).hexdigest(),
                "weights": digest_of_weights(teacher.model),
                "logits": list(teacher.output),
                **_normalised(setup.recipe.teacher),
            },
            seen={
                "images": stamp["train"],
                **{name: stamp[name] for name in views.facts()},
                "precision": setup.precision,
                "device": setup.device.type,
            },
            view=view,
        )

    def key(self, tap: Tap, dtype: StoreDtype, epoch: int | None = None) -> dict[str, Any]:
        """The key of one tensor.

        Args:
            tap: which.
            dtype: how it is kept.
            epoch: whose views it is of, from 0; None for the plain view.
        """
        teacher = dict(self.teacher)
        if tap != OUTPUT:
            del teacher["logits"]
        return {
            "layerlink store": FORMAT,
            "tensor": name_of(tap),
            "layer": None if tap == OUTPUT else str(tap),
            **teacher,
            **self.seen,
            "view": {"augment": "none"} if epoch is None else {**self.view, "epoch": epoch},
            "dtype": dtype,
        }


def _normalised(section: TeacherSection | None) -> dict[str, Any]:
    """The teacher's own normalisation, where it has one."""
    if section is None or section.statistics is None:
        return {}
    mean, std = section.statistics
    return {"teacher_mean": list(mean), "teacher_std": list(std)}


def name_of(tap: Tap) -> str:
    """What messages call it."""
    return "logits" if tap == OUTPUT else str(TopK.of(tap) or tap)


def folder_name(key: Mapping[str, Any]) -> str:
    """The name of a key's store: 64 bits of its digest."""
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]


def digest_of_weights(model: nn.Module) -> str:
    """SHA-256 of everything in the model's ``state_dict``: names, dtypes, shapes, values."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):  # extra state of a module
            digest.update(f"{name} {value!r}\n".encode())
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
