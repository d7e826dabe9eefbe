"""A teacher's likeliest classes at one temperature, and the mass of all others: what stores keep of large outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from layerlink.losses.outputs.topk_kl import top_of
from layerlink.taps import Tap

_ELEMENT = re.compile(r"top (\d{1,9}) at T ([0-9.e+-]{1,20})")


@dataclass(frozen=True)
class TopK:
    """Of every row of logits the k likeliest classes and one for all others, softened at one temperature.

    What is kept holds for this temperature alone: the mass of all others at another one does not follow from it.

    Args:
        k: how many classes.
        temperature: T, the divisor of the logits.
    """

    k: int
    temperature: float

    @property
    def tap(self) -> Tap:
        """Under which a teacher gives it."""
        return Tap("", element=(f"top {self.k} at T {self.temperature:g}",))

    @classmethod
    def of(cls, tap: Tap) -> TopK | None:
        """What stands behind a tap; None where it is another one."""
        found = re.fullmatch(_ELEMENT, tap.element[0]) if not tap.module and len(tap.element) == 1 else None
        return None if found is None else cls(int(found[1]), float(found[2]))

    def __str__(self) -> str:
        return f"top {self.k} of the logits at T {self.temperature:g}"

    @property
    def nbytes(self) -> int:
        """Of every row, such as a token's."""
        return 4 * self.k + 4 * (self.k // 2 + 1)

    @torch.no_grad()
    def pack(self, logits: Tensor) -> Tensor:
        """What is kept of logits (N, ..., C), C > k.

        Returns:
            (N, ..., k + k // 2 + 1) int32: the classes, then pairs of float16 logarithms of their probabilities and of
            that of all others; what is left over of the last pair is 0.
        """
        return torch.stack([self._packed(each) for each in logits])  # one by one: softmaxes in float32 are large

    def _packed(self, logits: Tensor) -> Tensor:
        logs, chosen = top_of(logits, self.k, self.temperature)
        if logs.shape[-1] % 2:
            logs = torch.cat([logs, torch.zeros_like(logs[..., :1])], -1)
        halves = logs.clamp_min(-60000.0).to(torch.float16).contiguous()
        return torch.cat([chosen.to(torch.int32), halves.view(torch.int32)], -1)

    def unpack(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms (N, ..., k + 1) float32, that of all others last, and the classes (N, ..., k) int64."""
        logs = kept[..., self.k :].contiguous().view(torch.float16)[..., : self.k + 1]
        return logs.float(), kept[..., : self.k].long()
