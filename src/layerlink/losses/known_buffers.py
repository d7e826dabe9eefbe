"""A module that reads numbers of its own buffers without waiting for the device."""

from __future__ import annotations

from torch import Tensor, nn


class KnownBuffers(nn.Module):
    """Remembers on the host what it has written to single numbers of its state, and asks the device where somebody
    else has changed them, such as a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, tuple[Tensor, int, int]] = {}

    def read(self, name: str) -> int:
        """A whole number, or of a fraction whether it is not 0."""
        value: Tensor = self.get_buffer(name)
        known = self._known.get(name)
        if known is None or value.is_inference() or known[0] is not value or known[1] != value._version:
            number = int(value != 0) if value.is_floating_point() else int(value)
            self.note(name, number)
            return number
        return known[2]

    def note(self, name: str, number: int) -> None:
        """After a buffer was written: what ``read`` gives from now on."""
        value = self.get_buffer(name)
        if not value.is_inference():
            self._known[name] = value, value._version, number

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_known": {}}
