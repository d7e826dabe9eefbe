"""What a finished run's result must hold, whoever wrote its file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from layerlink.errors import closest
from layerlink.tasks import Score

_PERCENT = "0 to 100 percent", 0.0, 100.0
_NUMBERS = {
    **dict.fromkeys(("agreement", "test_ece"), _PERCENT),
    **dict.fromkeys(("test_images", "parameters", "train_seconds", "test_nll"), ("a number", 0.0, 1e15)),
}


def check_result(result: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where a score is missing or a number is none, or is out of its range."""
    score = Score.of(result.get("score"))
    read = f"test_{score.name}", f"validation_{score.name}"
    missing = [name for name in (*read, "test_images") if name not in result]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    of_score = _PERCENT if score.unit == "%" else ("a number", -1e15, 1e15)
    for name, (what, least, most) in {
        **dict.fromkeys((*read, f"teacher_test_{score.name}"), of_score),
        **_NUMBERS,
    }.items():
        value = result.get(name, 0)
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"{name} must be {what}; got {value!r}")
    losses = result.get("first_losses", [])
    if not isinstance(losses, list) or not all(type(loss) in (int, float) and abs(loss) <= 1e300 for loss in losses):
        raise ValueError(f"first_losses must be numbers; got {losses!r}"[:200])
    for name in ("by_class", "teacher_by_class"):
        scores = result.get(name, {})
        if not isinstance(scores, Mapping) or not all(value is None or _is_a_score(value) for value in scores.values()):
            raise ValueError(f"{name} must be numbers by class; got {scores!r}"[:200])
    peers = result.get("peers", {})
    if not isinstance(peers, Mapping) or not all(isinstance(it, Mapping) for it in peers.values()):
        raise ValueError(f"peers must be numbers by name; got {peers!r}")
    for name, numbers in peers.items():
        try:
            check_result({**numbers, "peers": {}, "score": result.get("score")})
        except ValueError as error:
            raise ValueError(f"peers.{name}: {error}") from None


def _is_a_score(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e15


def why_no_result(file: Path) -> str:
    """Why a run's folder has no such file, and which other is near where there is no folder."""
    folder = file.parent
    if folder.is_dir():
        return f"{folder} holds no finished run ({file.name} is missing)"
    if folder.exists():
        return f"{folder} is a file, and a run is named by its folder"
    near: list[str] = []
    with suppress(OSError):
        near = closest(str(folder), [str(it) for it in folder.parent.iterdir() if (it / file.name).exists()])
    return f"there is no folder {folder}, and so no finished run{f' (closest: {near[0]})' if near else ''}"
