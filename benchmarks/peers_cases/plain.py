"""A loop as people write it in PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from common import BATCH, EPOCHS, LINKS, Steps, dataset, network, run
from torch.utils.data import DataLoader


def train(folder: Path, told: Steps, how: str) -> None:
    teacher, student = network(folder, "teacher"), network(folder, "student")
    loader = DataLoader(dataset(folder), BATCH)
    # lines:
    teacher.eval().requires_grad_(False)
    student.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.004, momentum=0.9)
    seen = {}

    def keep(key):
        def hook(module, inputs, output):
            seen[key] = output

        return hook

    for name in LINKS:
        teacher.get_submodule(name).register_forward_hook(keep(f"teacher {name}"))
        student.get_submodule(name).register_forward_hook(keep(f"student {name}"))
    for _ in range(EPOCHS):
        for images, labels in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=how == "bfloat16"):
                with torch.no_grad():
                    taught = teacher(images)
                logits = student(images)
                soft = F.kl_div(F.log_softmax(logits / 2, 1), F.softmax(taught / 2, 1), reduction="batchmean")
                loss = F.cross_entropy(logits, labels) + 10 * soft
                for name in LINKS:
                    loss = loss + 40 * F.mse_loss(seen[f"student {name}"], seen[f"teacher {name}"])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 5)
            optimizer.step()
            told(loss.item())
    # end


if __name__ == "__main__":
    run(train)
