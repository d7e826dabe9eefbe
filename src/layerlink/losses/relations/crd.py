"""Contrastive representation distillation: the same example's features against those of a memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.known_buffers import KnownBuffers
from layerlink.losses.relations.memory import Alike, alike, check_indices, negatives_of, remember
from layerlink.losses.shapes import ShapeError, embedded, require_same_batch, require_sizes, unit

EPSILON = 1e-7


class CRD(KnownBuffers):
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
    Cost: a memory of 2 x examples x ``dim``; products with all of it, or, where the training set has more than 8
        examples a negative, with the drawn alone, which are copied.
    Differs: negatives are drawn of all other examples; code in use can leave out those of the example's class.
    """

    memory_student: Tensor
    memory_teacher: Tensor
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
        self._checked = False
        self.train_size, self.negatives, self.temperature, self.momentum = train_size, negatives, temperature, momentum
        self.embed_student, self.embed_teacher = (nn.Linear(math.prod(shape[1:]), dim) for shape in (student, teacher))
        bound = 1 / math.sqrt(dim / 3)
        for side in ("student", "teacher"):
            self.register_buffer(f"memory_{side}", torch.rand(train_size, dim) * 2 * bound - bound)
            self.register_buffer(f"scale_{side}", torch.zeros((), dtype=torch.float64))  # Z; 0 until it is known
        self.register_buffer("seed", torch.randint(1 << 31, ()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, student: Tensor, teacher: Tensor, *, indices: Tensor) -> Tensor:
        """The loss of a batch (N, ...), with ``indices`` (N,) int64 of which training examples these are."""
        teacher = teacher.detach()
        require_same_batch("crd", student, teacher)
        if indices.shape != student.shape[:1] or indices.dtype != torch.int64:
            raise ShapeError(f"crd needs int64 indices ({len(student)},); got {indices.dtype} {tuple(indices.shape)}")
        if not self._checked:  # once: the host would wait for each; later ones outside of it are torch's error
            check_indices(indices, self.train_size)
            self._checked = self._learns()
        indices = indices.to(self.get_buffer("memory_student").device)
        own, other = (
            unit(embedded(embed, side.flatten(1)), 1)
            for embed, side in ((self.embed_student, student), (self.embed_teacher, teacher))
        )
        seed = self.read("seed") * 1_000_003 + self.read("steps")
        drawn = negatives_of(indices, self.train_size, self.negatives, seed)
        loss = self._one_way(own, self.memory_teacher, indices, drawn, "scale_student")
        loss = loss + self._one_way(other, self.memory_student, indices, drawn, "scale_teacher")
        if self._learns():
            remember(self.memory_student, indices, own, self.momentum)
            remember(self.memory_teacher, indices, other, self.momentum)
            steps = self.read("steps")
            self.steps += 1
            self.note("steps", steps + 1)
        return loss

    def _learns(self) -> bool:
        """Whether this is a step of a training, to be remembered."""
        return self.training and torch.is_grad_enabled()

    def _one_way(self, features: Tensor, memory: Tensor, indices: Tensor, drawn: Tensor, name: str) -> Tensor:
        found = alike(features, memory, indices, drawn, self.temperature)
        scale = self._scale(name, found).to(found.others.dtype)
        noise = self.negatives / self.train_size
        own = (found.same / scale / (found.same / scale + noise + EPSILON)).log()
        others = (noise / (found.others / scale + noise + EPSILON)).log()
        return -(own.sum() + found.counted(others).sum()) / len(features)

    def _scale(self, name: str, found: Alike) -> Tensor:
        """Z, which the first batch decides."""
        if self.read(name):
            return self.get_buffer(name)
        scale = found.mean() * self.train_size
        if self._learns():
            self.get_buffer(name).copy_(scale)
            self.note(name, 1)
        return scale
