"""What a format is asked for, and what it gives back."""

from __future__ import annotations

import errno
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from layerlink.errors import LayerlinkError
from layerlink.printable import one_line

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
MOST_BATCH = 128  # of formats that need a bound


@dataclass(frozen=True)
class Job:
    """A model to be written.

    Args:
        model: takes the inputs in their order and gives one tensor; in eval mode, on the CPU.
        example: inputs by name, each with the batch first, of 2 or more.
        facts: to be kept in the file, JSON.
        calibration: batches of inputs to calibrate int8 on; None: the file holds float32.
        longest: of texts, tokens that the second axis, which is free, may have; None: the first axis alone is free.
    """

    model: nn.Module
    example: Mapping[str, Tensor]
    facts: str
    calibration: Sequence[tuple[Tensor, ...]] | None = None
    longest: int | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The example's tensors, in order."""
        return tuple(self.example.values())

    def free_axes(self, most: int | None = None) -> tuple[dict[int, Any], ...]:
        """Of every input the axes that are free, as ``torch.export`` has them.

        Args:
            most: the largest batch, of formats that need bounds; None: any.
        """
        from torch.export import Dim

        axes: dict[int, Any] = {0: Dim.DYNAMIC if most is None else Dim("batch", min=1, max=most)}
        if self.longest is not None:
            axes[1] = Dim.DYNAMIC if most is None else Dim("length", min=1, max=self.longest)
        return tuple(axes for _ in self.inputs)


@dataclass(frozen=True)
class Opened:
    """A written model, run by its format's own runtime.

    Args:
        names: of its inputs, in order.
        facts: that it was written with, JSON; empty where there are none.
        call: gives its output for tensors in that order.
    """

    names: tuple[str, ...]
    facts: str
    call: Callable[..., Tensor]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        ending: of its name.
        write: into a file, which may get others beside it.
        read: opens such a file.
        note: what is to be known of its int8 files; empty where there is nothing.
        may_hold_code: whether a file that somebody made for it could run code where it is opened.
    """

    ending: str
    write: Callable[[Job, Path], None]
    read: Callable[[Path], Opened]
    note: str = ""
    may_hold_code: bool = False


@contextmanager
def converting(what: str) -> Iterator[None]:
    """Run somebody else's converter: what it prints is kept back, and where it fails that is one sentence."""
    said = io.StringIO()
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    except LayerlinkError:
        raise
    except Exception as error:
        full = next((it for it in _causes(error) if isinstance(it, OSError) and it.errno in _NO_ROOM), None)
        if full is not None:
            raise LayerlinkError(
                f"{what}: cannot write the file: {full}. Nothing was written; free space or choose "
                "another: --out FOLDER"
            ) from error
        raise LayerlinkError(f"{what}: {why(error)}") from error
    finally:
        logging.disable(level)


def why(error: BaseException) -> str:
    """Why a model cannot be converted, in a sentence.

    >>> why(ValueError("No ONNX function found for <OpOverload(op='aten.special_i1', overload='default')>. Failure"))
    'the format has no operator for special_i1, which the student uses'
    """
    texts = list(_texts(error))
    whole = "\n".join(texts)
    missing = re.search(r"No ONNX function found for <OpOverload\(op='(?:\w+\.)?(\w+)'", whole) or re.search(
        r"No conversion rule found for operations:?\s*([\w:. ]+)", whole
    )
    if missing:
        return f"the format has no operator for {missing[1].strip()}, which the student uses"
    if re.search(r"data-dependent|data dependent", whole, re.IGNORECASE):
        return (
            "the student decides by the values of tensors (if, while or a shape that depends on them), which a file of "
            f"operators cannot hold. {_first(texts, 'data')}"
        )
    return _first(texts)


def _texts(error: BaseException) -> Iterator[str]:
    return (f"{type(it).__name__}: {it}" for it in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first(texts: Sequence[str], word: str = "") -> str:
    """The first line that says something, of the innermost error where that is a cause."""
    lines = [line.strip() for text in reversed(texts) for line in text.split("\n") if word in line and line.strip()]
    return one_line(lines[0])[:300] if lines else ""


def thread_count() -> int:
    """How many threads torch computes with: runtimes that are compared with it get as many."""
    import torch

    return torch.get_num_threads()


def as_arrays(tensors: Sequence[Tensor]) -> list[Any]:
    """Tensors as arrays of numpy, as they lie in memory where they can."""
    return [tensor.detach().cpu().contiguous().numpy() for tensor in tensors]
