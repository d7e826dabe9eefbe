"""What a loop of one's own may forget, and what would teach otherwise than it was meant: told once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from layerlink.errors import UsageError
from layerlink.transfer.objective import Objective
from layerlink.transfer.scales import is_scaled
from layerlink.transfer.schedule import Schedule

_MODE = (
    "the student learns in eval mode: dropout is off and batch norm keeps its old statistics. Call distiller.train() "
    "before the epoch; where losses are only looked at, use torch.no_grad()"
)


_STEPS = (
    "a teacher is the student's average and was told of no step, so it stays as the student was. Call "
    "distiller.after_step() after every step of the optimiser"
)


class Reminders:
    """Looks at a step that learns.

    Args:
        objective: of the whole training.
    """

    def __init__(self, objective: Objective) -> None:
        self._timed, self._whole = tuple(_timed(objective)), tuple(_of_whole_batches(objective))
        self._told: set[str] = set()
        self.shared = False  # whether the links know of other processes
        self.stepped = False  # whether teachers that follow the student were ever told of a step
        self.versions: set[int] = set()  # of the student

    def __call__(self, student: nn.Module, progress: float | None, *, followed: bool, masked: bool) -> None:
        """Warn of the loop's line that called the distiller.

        Args:
            student: a student that is left in eval mode learns without dropout and batch norm's statistics.
            progress: of the training; None where nobody said, and terms that have a time count in full then.
            followed: whether a teacher is the student's average, which stays where it is unless it is told of steps.
            masked: whether the loop gave a mask.
        """
        if followed and not self.stepped and _STEPS not in self._told:
            self.versions.add(sum(it._version for it in student.parameters() if it.requires_grad))
            if len(self.versions) > 2:  # two steps of the optimiser
                self._tell(_STEPS)
        if not student.training:
            self._tell(_MODE)
        if progress is None and self._timed:
            self._tell(
                f"{', '.join(self._timed)}: begins, rises, falls or ends with time, and counts in full at every step "
                "while nobody says the time. Call distiller.at(epoch, epochs) as the training goes on"
            )

        if not self.shared and (self._whole or masked) and _several():
            self._tell(
                f"{', '.join(self._whole) or 'mask'}: of a whole batch, and this process looks at its own part of it "
                "alone. Call distiller.share_with() once, after torch.distributed.init_process_group; where every "
                "process trains on whole batches, nothing is wrong"
            )

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, stacklevel=6)  # past forward and torch's own two frames, to the line of the loop


def _timed(objective: Objective) -> Iterator[str]:
    if objective.labels.weight and objective.labels.schedule != Schedule():
        yield "hard"
    if objective.soft is not None and objective.soft.schedule != Schedule():
        yield "soft"
    for link in objective.links:
        if link.schedule != Schedule() or "progress" in objective.parts[link.text].needs:
            yield f"link {link.text!r}"


def _of_whole_batches(objective: Objective) -> Iterator[str]:
    """What is another thing for a part of a batch: losses between images, means by a mask, links' scales."""
    for link in objective.links:
        if is_scaled(link) or link.where or link.teacher_where or objective.parts[link.text].kind.between_images:
            yield f"link {link.text!r}"


def _several() -> bool:
    """Whether processes train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def check_student(student: nn.Module, read: nn.Module) -> None:
    """Raise ``UsageError`` where a distiller's student is not the module that it reads any more."""
    if student is not read:
        raise UsageError(
            f"distiller.student was replaced by a {type(student).__name__}, which is not the one that is run: make a "
            "distiller of it, layerlink.Distiller(teacher, student, ...), or wrap the whole distiller"
        )


def check_wrapping(student: nn.Module, parts: nn.Module) -> None:
    """Raise ``UsageError`` where gradients of the links' own parameters would differ from process to process."""
    own = sum(parameter.requires_grad for parameter in parts.parameters())
    if own and any(isinstance(module, DistributedDataParallel) for module in student.modules()):
        raise UsageError(
            f"the student is wrapped in DistributedDataParallel, which averages its gradients and not those of the "
            f"links' own {own} parameters. Wrap the distiller in place of it: "
            "DistributedDataParallel(layerlink.Distiller(teacher, student, ...))"
        )
