"""Contrastive representation distillation: the same example's features against those of a memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_same_batch, require_sizes, unit

EPSILON = 1e-7


class CRD(nn.Module):
    """Noise-contrastive estimate of what student and teacher features share, with a memory of both for every example.

    Each side is mapped to ``dim`` numbers of length 1. With ``P = exp(v . m / T) / Z`` for the other side's memory m
    of the same example and of ``negatives`` others, and ``q = negatives / train_size``:
    ``-[log P / (P + q + e) + sum over negatives of log q / (P + q + e)]``, mean over the batch, both ways. Z is fixed
    at the first batch, so that P is 1 / train_size on average. After that the memory of the batch's examples moves to
    their features, keeping ``momentum`` of the old, and is brought back to length 1.

    Args:
        student: shape (N, ...) of the student's activation, flattened.
        teacher: of the teacher's.
        train_size: number of training examples.
        dim: of the memory.
        negatives: other examples drawn for each, with replacement.
        temperature: T > 0.
        momentum: 0 <= m < 1.

    ``forward`` gives a scalar in nats, float32 or wider, > 0. Which negatives are drawn follows from a seed and a
    count that are part of the state, so it is the same after resuming and in all processes.

    Source: Tian et al. 2020 (arXiv 1910.10699), eq. 10 to 18.
    Weight: 0.8, at the pooled feature.
    When: there are many epochs, over which its memory fills.
    Cost: a memory of 2 x examples x ``dim``, and ``negatives`` products an example.
    Differs: negatives are drawn of all other examples; code in use can leave out those of the example's class.
    """

    seed: Tensor
    steps: Tensor

    def __init__(
        self,
        student: Sequence[int],
        teacher: Sequence[int],
        *,
        train_size: int,
        dim: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        require_sizes("crd", student, teacher)
        if min(train_size - 1, dim, negatives) < 1 or not temperature > 0 or not 0 <= momentum < 1:
            got = f"got {train_size}, {dim}, {negatives}, {temperature:g}, {momentum:g}"
            raise UsageError(f"crd: train_size >= 2, dim and negatives >= 1, temperature > 0, 0 <= momentum < 1; {got}")
        self.train_size, self.negatives, self.temperature, self.momentum = train_size, negatives, temperature, momentum
        self.embed_student, self.embed_teacher = (nn.Linear(math.prod(shape[1:]), dim) for shape in (student, teacher))
        bound = 1 / math.sqrt(dim / 3)
        for side in ("student", "teacher"):
            self.register_buffer(f"memory_{side}", torch.rand(train_size, dim) * 2 * bound - bound)
            self.register_buffer(f"scale_{side}", torch.zeros((), dtype=torch.float64))  # Z; 0 until it is known
        self.register_buffer("seed", torch.randint(1 << 31, ()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._known: dict[str, tuple[Tensor, int, int]] = {}  # what the host knows of buffers, see _read

    def forward(self, student: Tensor, teacher: Tensor, *, indices: Tensor) -> Tensor:
        """The loss of a batch (N, ...), with ``indices`` (N,) int64 of which training examples these are."""
        teacher = teacher.detach()
        require_same_batch("crd", student, teacher)
        if indices.shape != student.shape[:1] or indices.dtype != torch.int64:
            raise ShapeError(f"crd needs int64 indices ({len(student)},); got {indices.dtype} {tuple(indices.shape)}")
        own, other = (
            unit(at_least_float32(embed(at_least_float32(side).flatten(1))), 1)
            for embed, side in ((self.embed_student, student), (self.embed_teacher, teacher))
        )
        drawn = self._draw(indices)
        buffers = dict(self.named_buffers())
        loss = self._one_way(own, buffers["memory_teacher"][drawn], "scale_student")
        loss = loss + self._one_way(other, buffers["memory_student"][drawn], "scale_teacher")
        if self._learns():
            self._remember(buffers["memory_student"], indices, own)
            self._remember(buffers["memory_teacher"], indices, other)
            count = self._read("steps")
            self.steps += 1
            self._note("steps", count + 1)
        return loss

    def _read(self, name: str) -> int:
        """A whole number of the device, which is asked only where somebody else has changed it."""
        value: Tensor = self.get_buffer(name)
        known = self._known.get(name)
        if known is None or value.is_inference() or known[0] is not value or known[1] != value._version:
            number = int(value != 0) if value.is_floating_point() else int(value)
            self._note(name, number)
            return number
        return known[2]

    def _note(self, name: str, number: int) -> None:
        value = self.get_buffer(name)
        if not value.is_inference():
            self._known[name] = value, value._version, number

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_known": {}}

    def _learns(self) -> bool:
        """Whether this is a step of a training, to be remembered."""
        return self.training and torch.is_grad_enabled()

    def _draw(self, indices: Tensor) -> Tensor:
        """Every example itself, then its negatives: (N, 1 + negatives)."""
        generator = torch.Generator().manual_seed((self._read("seed") * 1_000_003 + self._read("steps")) % (1 << 62))
        size = (len(indices), self.negatives)
        others = torch.randint(self.train_size - 1, size, generator=generator)
        if indices.device.type == "cuda":  # from such memory it is copied while the host goes on
            others = others.pin_memory()
        others = others.to(indices.device, non_blocking=True)
        others = others + (others >= indices[:, None])  # never the example itself
        return torch.cat([indices[:, None], others], dim=1)

    def _one_way(self, features: Tensor, memory: Tensor, name: str) -> Tensor:
        scale = self.get_buffer(name)
        with own_digits(features):
            scores = (torch.einsum("nkd,nd->nk", memory.to(features.dtype), features) / self.temperature).exp()
        is_known = bool(self._read(name))
        known = scale if is_known else scores.detach().double().mean() * self.train_size
        if self._learns() and not is_known:
            scale.copy_(known)
            self._note(name, 1)
        p = scores / known.to(scores.dtype)
        noise = self.negatives / self.train_size
        same = (p[:, 0] / (p[:, 0] + noise + EPSILON)).log()
        others = (noise / (p[:, 1:] + noise + EPSILON)).log()
        return -(same.sum() + others.sum()) / len(features)

    @torch.no_grad()
    def _remember(self, memory: Tensor, indices: Tensor, features: Tensor) -> None:
        moved = self.momentum * memory[indices] + (1 - self.momentum) * features.to(memory.dtype)
        memory[indices] = unit(moved, 1)
