"""From a run's folder or an exported file to a model that can be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from layerlink.design.use.usable import Usable
from layerlink.errors import UsageError
from layerlink.files.paths import expanded
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.trained import trained


def _exported(path: Path, trust_code: bool) -> Usable:
    from layerlink.design.export.reading import read_exported

    return read_exported(path, trust_code=trust_code)


# Files that were exported, by their ending; each reader gives what `load` gives, and is told whether code in a file
# that this user did not make may be run.
READERS: dict[str, Callable[[Path, bool], Usable]] = dict.fromkeys((".onnx", ".pt2", ".xml", ".pte"), _exported)


def load(path: str | Path, *, trust_code: bool = False) -> Usable:
    """A model with its preprocessing and class names, from a run's folder or an exported file.

    Args:
        path: a run's folder, or a file whose ending is in ``READERS``.
        trust_code: whether code that a folder names, or that a file may hold, may be called, where this user did not
            make it.

    Raises:
        UsageError: where there is no such thing.
        ForeignCodeError: where a folder names code of somebody else, or a file of somebody else's may hold such.
        LayerlinkError: where a file is damaged, or its runtime is missing.
    """
    path = expanded(Path(path))
    if path.is_dir():
        found = trained(RunFolder(path), trust_code=trust_code)
        return Usable(found.model, found.preprocessing, found.classes, found.task, found.output)
    if not path.is_file():
        raise UsageError(f"{path} is neither a run's folder nor a file")
    if path.suffix not in READERS:
        endings = f"files that can be loaded end with {', '.join(READERS)}; " if READERS else ""
        raise UsageError(f"{path}: {endings}a run is loaded by its folder")
    return READERS[path.suffix](path, trust_code)
