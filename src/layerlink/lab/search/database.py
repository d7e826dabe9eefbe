"""The database of a search: Optuna's, in SQLite. Nothing in it is unpickled: Optuna keeps numbers, texts and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerlink.errors import LayerlinkError
from layerlink.files.inside import regular

try:
    import optuna
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool
except ImportError as error:
    raise LayerlinkError(
        f"searches need the package {error.name!r}, which cannot be imported ({error}). "
        "Install it: pip install 'layerlink[search]'"
    ) from error

__all__ = ["no_database", "open_storage", "optuna"]

# SQLite's words where the place is at fault: nobody must be told to remove the trials then.
_NOT_ITS_FAULT = ("disk is full", "disk I/O error", "readonly database", "unable to open database file", "is locked")
_BEGINS = b"SQLite format 3\0"


@contextmanager
def open_storage(path: Path) -> Iterator[optuna.storages.RDBStorage]:
    """A search's database, made where it is missing.

    Raises:
        LayerlinkError: where there is something else, the database is damaged, it is no search's, or cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _check(path)
    try:
        # No pool: a connection is closed when it is given back, also where the database turns out to be none.
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"poolclass": NullPool})
        try:
            yield storage
        finally:
            storage.remove_session()
    except (SQLAlchemyError, OptunaError) as error:
        why = str(error).strip().split("\n", 1)[0]
        if any(text in why for text in _NOT_ITS_FAULT):
            raise LayerlinkError(
                f"cannot write {path}: {why}. The trials in it are kept: make room, or let it be written, then the "
                "same command goes on"
            ) from error
        raise no_database(path, why) from error


def _check(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    try:
        with regular(path, path.parent).open("rb") as file:
            begins = file.read(len(_BEGINS))
    except OSError as error:
        raise no_database(path, str(error)) from None
    if begins not in (_BEGINS, b""):
        raise no_database(path, "it does not begin as one")


def no_database(path: Path, why: str) -> LayerlinkError:
    """The error that says so, and what to do."""
    return LayerlinkError(
        f"{path} is no database of a search, or a damaged one ({why}). Remove it, or choose another folder: --out "
        "FOLDER"
    )
