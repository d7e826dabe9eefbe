"""What an adapter is: steps from the student's shape to the teacher's, told in words."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from layerlink.errors import UsageError

Shape = tuple[int, ...]


class AdapterError(UsageError):
    """Two shapes that an adapter of this kind cannot bring together."""


class Adapter(nn.Module):
    """Brings a student's activation to the shape of the teacher's; any batch size.

    Args:
        steps: modules, one after the other, each with its words; none where shapes are equal.
        teacher_steps: what the teacher's activation goes through, such as dropping its class token; no parameters.
    """

    def __init__(
        self, steps: Sequence[tuple[str, nn.Module]] = (), teacher_steps: Sequence[tuple[str, nn.Module]] = ()
    ) -> None:
        super().__init__()
        self.steps = nn.Sequential(*(module for _, module in steps))
        self.teacher_steps = nn.Sequential(*(module for _, module in teacher_steps))
        words = [text for text, _ in steps] + [f"teacher: {text}" for text, _ in teacher_steps]
        self.words = ", ".join(words) or "none needed"

    def forward(self, student: Tensor) -> Tensor:
        """The student's activation in the teacher's shape."""
        adapted: Tensor = self.steps(student)
        return adapted

    def prepare(self, teacher: Tensor) -> Tensor:
        """The teacher's activation as it is compared."""
        prepared: Tensor = self.teacher_steps(teacher)
        return prepared

    def extra_repr(self) -> str:
        """What it does."""
        return self.words


def shown(shape: Shape) -> str:
    """A shape without its batch, as messages say it: ``(N, 64, 8, 8)``."""
    return f"({', '.join(['N', *map(str, shape[1:])])})"
