"""Code of the user's own that a recipe or a link names as ``package.module:name`` or
``file.py:name``: imported here and nowhere else."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

from layerlink.errors import UsageError, unknown_name


def named(path: str, what: str) -> Any:
    """What ``package.module:name`` or ``file.py:name`` names. Its code runs, at this call.

    Packages are searched for in the current folder, too; a file is found from there.

    Args:
        path: as written.
        what: it is to be, for messages: "model", "loss".

    Raises:
        UsageError: where it cannot be imported, or has no such callable.
    """
    module_name, _, attribute = path.rpartition(":") if is_file(path) else path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a file there takes the place of nothing that is installed
    try:
        found: Any = _from_file(module_name) if is_file(path) else importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} {path!r}: cannot import {module_name!r} ({told(error)})") from error
    for part in attribute.split("."):
        names = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        found = getattr(found, part, None)
        if not callable(found):
            raise UsageError(f"{what} {path!r}: {unknown_name('callable', part, names)}{_in_the_way(module_name)}")
    return found


def is_file(path: str) -> bool:
    """Whether code is named by its file: ``folder/net.py:build``."""
    return path.rpartition(":")[0].endswith(".py")


def is_code(path: str) -> bool:
    """Whether a name in a recipe is code of the user's own, ``package.module:name`` or ``file.py:name``.

    ``hf:NAME_OR_FOLDER`` names weights and a configuration, of which nothing is run.
    """
    return ":" in path and not path.startswith(HUB)


def _from_file(name: str) -> ModuleType:
    """The module in a file, run anew at each call: what was changed since is seen."""
    place = Path(name).expanduser().resolve()
    spec = importlib.util.spec_from_file_location(f"_layerlink_{place.stem}", place)
    if spec is None or spec.loader is None or not place.is_file():
        raise ImportError(f"there is no file {name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    spec.loader.exec_module(module)
    return module


def found_at(path: str) -> str:
    """Where the code that ``package.module:name`` names lies, as far as that is known without running any of it.

    Returns:
        The file of its topmost module, or what is said instead of one of a module that Python itself brings; empty
        where there is none.
    """
    if is_file(path):
        place = Path(path.rpartition(":")[0]).expanduser().resolve()
        return str(place) if place.is_file() else ""
    top = path.partition(":")[0].partition(".")[0]
    loaded = sys.modules.get(top)
    spec = getattr(loaded, "__spec__", None)
    if spec is None and loaded is not None:  # made by hand, or the program itself
        return str(getattr(loaded, "__file__", None) or "")
    for finder in () if loaded is not None else sys.meta_path:  # as an import asks them; the last is that of the folder
        with contextlib.suppress(ImportError, ValueError, OSError, AttributeError):
            spec = spec or finder.find_spec(top, None)
    if spec is None:
        with contextlib.suppress(ImportError, ValueError, OSError):
            spec = PathFinder.find_spec(top, [str(Path.cwd())])
    if spec is None:
        return ""
    if spec.origin in ("built-in", "frozen"):
        return "built in"
    # A package without __init__.py has folders and no file.
    return next((str(place) for place in (spec.origin, *(spec.submodule_search_locations or ())) if place), "")


def is_installed(place: str) -> bool:
    """Whether code lies where nothing of the user's own does: in Python itself, or among installed packages."""
    return place == "built in" or any(Path(place).is_relative_to(it) for it in (_OURS, *_OTHERS))


def _in_the_way(module: str) -> str:
    """A hint where a module of the working folder has the name of an installed one."""
    top = module.partition(".")[0]
    own = [Path(f"{top}.py"), Path(top)]
    if is_installed(found_at(top)) and any(it.exists() for it in own):
        return f" This is the installed {top}, not the one in this folder: give yours another name"
    return ""


# Where code lies that is nobody's own: this package, what is installed, Python itself.
_OURS = str(Path(__file__).parent)
_OTHERS = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def place_in_user_code(error: BaseException) -> str:
    """Where in the user's own code an error came up: ``net.py, line 12, in forward``; empty where it did not."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not (frame.filename.startswith("<") or frame.filename.startswith((_OURS, *_OTHERS)))
    ]
    return f"{_short_path(own[-1].filename)}, line {own[-1].lineno}, in {own[-1].name}" if own else ""


HUB = "hf:"  # begins the name of a model of the Hugging Face hub, or a folder in its layout
Function = TypeVar("Function", bound=Callable[..., Any])
_DOORS: set[CodeType] = set()


def runs_a_model(function: Function) -> Function:
    """Mark a function of layerlink that hands over to a model: what comes up below it is not layerlink's fault."""
    assert isinstance(function, FunctionType)  # noqa: S101 - for the type checker: what a decorator gets
    _DOORS.add(function.__code__)
    return function


def whose(error: BaseException) -> str:
    """Whose fault an unforeseen error is, a sentence: of the user's own code, of a model, or of layerlink."""
    if place := place_in_user_code(error):
        return f"It came up in your own code: {place}."
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [code for code in frames if code.co_filename.startswith(_OURS)]
    if ours and ours[-1] in _DOORS and frames[-1] is not ours[-1]:
        return "It came up below layerlink, in a model or a library."
    return "This is a fault of layerlink."


def told(error: BaseException) -> str:
    """An error of the user's own code, with the place in it where that is known."""
    place = place_in_user_code(error)
    return f"{type(error).__name__}: {error}{f' ({place})' if place else ''}"


def _short_path(name: str) -> str:
    path = Path(name)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
