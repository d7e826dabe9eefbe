"""torchdistill: its YAML and its box, in a loop like that of its examples."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from common import Steps, dataset, run

# torchvision's wheel is built for CUDA; beside a CPU build of torch these two operators are not there.
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchdistill.common import yaml_util  # noqa: E402
from torchdistill.common.main_util import load_ckpt  # noqa: E402
from torchdistill.core.distillation import get_distillation_box  # noqa: E402
from torchdistill.misc.log import MetricLogger, SmoothedValue  # noqa: E402
from torchdistill.models.registry import get_model, register_model  # noqa: E402

from layerlink.models import build_model  # noqa: E402


@register_model
def study_vgg16(**arguments):
    return build_model("vgg16", **arguments)


@register_model
def study_vgg7(**arguments):
    return build_model("vgg7", **arguments)


def train(folder: Path, told: Steps, how: str) -> None:
    config = yaml_util.load_yaml_file(Path(__file__).with_suffix("").parent / "torchdistill.yaml")
    device, models = torch.device("cpu"), {}
    os.chdir(folder)
    for name, asked in config["models"].items():
        models[name] = get_model(asked["key"], None, **asked["kwargs"])
        load_ckpt(asked["src_ckpt"], model=models[name], strict=True)
    box = get_distillation_box(
        models["teacher_model"],
        models["student_model"],
        {"train": dataset(Path())},
        config["train"],
        device,
        None,
        False,
        1,
    )
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        metrics = MetricLogger(delimiter="  ")
        metrics.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
        for images, labels, extra in metrics.log_every(box.train_data_loader, config["train"]["log_freq"]):
            with torch.autocast("cpu", torch.bfloat16, enabled=how == "bfloat16"):
                loss = box.forward_process(images.to(device), labels.to(device), extra)
            box.post_forward_process(loss=loss)
            metrics.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
            told(loss.item())
        box.post_epoch_process()


if __name__ == "__main__":
    run(train)
