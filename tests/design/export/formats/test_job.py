from __future__ import annotations

import errno

import pytest

from layerlink.design.export.formats.job import converting
from layerlink.errors import LayerlinkError


def test_a_full_disk_is_told_as_such_and_no_other_error_is() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(LayerlinkError) as caught, converting("ONNX"):
        raise RuntimeError("conversion failed") from full
    assert str(caught.value) == (
        "ONNX: cannot write the file: [Errno 28] No space left on device. Nothing was written; free space or choose "
        "another: --out FOLDER"
    )
    with pytest.raises(LayerlinkError, match=r"^ONNX: FileNotFoundError: "), converting("ONNX"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
