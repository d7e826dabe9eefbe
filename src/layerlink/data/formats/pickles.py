"""The pickles of the CIFAR archives, read without running anything that they name.

A pickle may call any function it names. Here it gets, for the few names that CIFAR's pickles hold, harmless
stand-ins that only write down what they were given; every other name is refused. Not even numpy's own
reconstruction runs: its dtype and shape come from the file and are checked first.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from layerlink.errors import LayerlinkError


class RefusedError(LayerlinkError):
    """The pickle names something that no CIFAR pickle needs."""


class _DType:
    """Stands for numpy.dtype: keeps the code, such as ``"u1"``."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment: of no meaning for single bytes, the only kind that ``array`` accepts."""


class _NdArray:
    """Stands for the class numpy.ndarray, which is only ever passed to ``_reconstruct``."""

    def __setstate__(self, state: Any) -> None:
        self.state: Any = state


class _Reconstruct(_NdArray):
    """Stands for numpy's ``_reconstruct``: the array that it would make, empty until its state comes."""

    def __init__(self, *_: Any) -> None:
        self.state = None

    def array(self) -> NDArray[np.uint8]:
        """The uint8 array that the state describes; ValueError or TypeError where it describes none."""
        _, shape, dtype, fortran, raw = self.state
        if not isinstance(dtype, _DType) or dtype.code != "u1" or not isinstance(raw, bytes):
            raise ValueError("an array that is not of dtype uint8")
        return np.frombuffer(raw, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")


class _Encode(bytes):
    """Stands for ``_codecs.encode``, with which Python 3 writes bytes into an old pickle."""

    __slots__ = ()

    def __new__(cls, text: str, codec: str | bytes) -> _Encode:
        if codec not in ("latin1", b"latin1"):
            raise RefusedError(f"the codec {codec!r}")
        return super().__new__(cls, text.encode("latin1"))

    def __setstate__(self, state: Any) -> NoReturn:
        """No bytes have a state; without this a pickle could set attributes of the class."""
        raise RefusedError("a state for bytes")


_KNOWN: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Encode,
}


# The unpickler written in Python: the one in C lets a few bytes claim gigabytes for its memo.
class _Reader(pickle._Unpickler):  # type: ignore[misc,name-defined,unused-ignore]
    def find_class(self, module: str, name: str) -> type:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise RefusedError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise RefusedError("a persistent id")


def read_pickle(data: bytes, where: str) -> dict[bytes, Any]:
    """The dictionary in a CIFAR pickle; its keys and texts as bytes, its arrays as uint8 arrays.

    Args:
        data: the pickle.
        where: its file, for messages.

    Raises:
        LayerlinkError: where it is cut short or damaged, holds no dictionary, or names anything but a
            uint8 array and bytes; nothing that it names has run.
    """
    try:
        loaded = _Reader(BytesIO(data), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise TypeError(f"a {type(loaded).__name__} instead of a dictionary")
        return {
            (key.encode("latin1") if isinstance(key, str) else key): (
                value.array() if isinstance(value, _Reconstruct) else value
            )
            for key, value in loaded.items()
        }
    except RefusedError as error:
        raise RefusedError(
            f"{where}: expected a CIFAR pickle, which holds a dictionary of bytes, numbers and uint8 arrays; "
            f"got one that asks for {error}. It was refused and nothing in it has run. "
            f"Get the file from its original source."
        ) from error
    except Exception as error:  # a damaged pickle is a damaged program: it may fail in any way
        raise LayerlinkError(
            f"{where}: expected a whole CIFAR pickle; got {len(data):,} bytes that cannot be read "
            f"({type(error).__name__}: {error}). The file is damaged or cut short: get it again."
        ) from error
