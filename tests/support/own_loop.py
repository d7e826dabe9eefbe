"""A user's own data-parallel loops, as one process of a group. Prints the largest error of a gradient of each kind."""

from __future__ import annotations

import json
import os
import sys
import warnings

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

import layerlink as ll
from versions import SHARDS

SOFT = {"soft": ll.Soft(temperature=2.0), "links": ["1 : mse * 3", "2 : mse"]}
ADAPTED = ["1 : mse * 3, adapter=linear", "2 -> 0 : mse, adapter=linear"]
KINDS = {
    "ddp": SOFT,
    "ddp-links-alone": {"hard": 0.0, "links": ["1 : mse * 3"]},
    "ddp-scaled": {**SOFT, "links": ["1 : mse * 3, scale=gradient", "2 : mse, scale=teacher"]},
    "ddp-adapter": {"links": ADAPTED},
    "ddp-between": {"links": ["1 : rkd * 0.1", "2 : sp * 10"]},
    "ddp-between-trained": {"links": ["1 : itrd * 0.1", "2 : cc * 0.1"]},
    "ddp-masked": {"links": ["1 : mse * 3", "2 : cosine, adapter=linear"]},
    "ddp-labelled": {**SOFT, "task": ll.Classification(unlabelled=-1)},
    "fsdp": SOFT,
    "fsdp-adapter": {"links": ADAPTED},
}


def make(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(16, 16), nn.ReLU(inplace=True))
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), inner, nn.Linear(16, 4))


def distiller_of(student: nn.Module, kind: str) -> ll.Distiller:
    example = torch.zeros(2, 8) if kind.endswith(("adapter", "masked", "trained")) else None
    torch.manual_seed(2)
    return ll.Distiller(make(0), student, **KINDS[kind], example=example)


def wrapped(kind: str) -> tuple[nn.Module, ll.Distiller]:
    student = make(1)
    if kind.startswith("fsdp"):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
        fully_shard(student[2], mesh=mesh)
        fully_shard(student, mesh=mesh)
        distiller = distiller_of(student, kind)
        for part in distiller.parts.values():
            if any(True for _ in part.parameters()):
                fully_shard(part, mesh=mesh)
        return distiller, distiller
    distiller = distiller_of(student, kind)
    if kind in ("ddp-scaled", "ddp-between", "ddp-between-trained", "ddp-masked", "ddp-labelled"):
        distiller.share_with()
    return DistributedDataParallel(distiller, find_unused_parameters=kind == "ddp-links-alone"), distiller


def gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        return torch.zeros(())
    return parameter.grad.full_tensor() if hasattr(parameter.grad, "full_tensor") else parameter.grad


def largest_error(kind: str) -> tuple[float, int]:
    """Of a gradient; how often the loop that shares nothing was told of it."""
    images, labels = torch.randn(12, 8, generator=torch.Generator().manual_seed(5)), torch.arange(12) % 4
    if kind == "ddp-labelled":  # 1 of the first half, 4 of the second
        labels = torch.where((torch.arange(12) > 4) & (torch.arange(12) < 10), labels, torch.full_like(labels, -1))
    whole = distiller_of(make(1), kind)
    model, distiller = wrapped(kind)
    optimizers = [torch.optim.SGD(each.trainable_parameters(), lr=0.1) for each in (whole, distiller)]
    mine = slice(6 * distributed.get_rank(), 6 * distributed.get_rank() + 6)
    mask = torch.arange(12) % 5 > 1 if kind == "ddp-masked" else None  # 3 and 4 of each half's 6
    worst, told = 0.0, 0
    for _ in range(3):
        with warnings.catch_warnings(record=True) as caught:  # it has whole batches, which nobody can know
            warnings.simplefilter("always")
            whole(images, labels, mask=mask).total.backward()
        told += sum("Call distiller.share_with() once" in str(it.message) for it in caught)
        model(images[mine], labels[mine], mask=None if mask is None else mask[mine]).total.backward()
        pairs = zip(whole.parameters(), distiller.parameters(), strict=True)
        worst = max(worst, *(float((gradient(a) - gradient(b)).abs().max()) for a, b in pairs))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return worst, told


def told_of_other_shapes() -> str:
    """What a process says that has fewer examples than the other."""
    distiller = distiller_of(make(1), "ddp-between")
    distiller.share_with()
    count = 3 + distributed.get_rank()
    try:
        distiller(torch.zeros(count, 8), torch.arange(count) % 4)
    except ll.UsageError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    found = {kind: largest_error(kind) for kind in KINDS if SHARDS or not kind.startswith("fsdp")}
    print(json.dumps({**found, "other shapes": told_of_other_shapes()}))
    distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # threads of the process group may still run, and would abort the interpreter's own end
