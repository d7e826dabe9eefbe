"""What the tests of the sources share: the real data, and a cache folder of each test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        reason = f"{SHARED_DATA} with the real data is not here"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED_DATA


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test may see, or write, the cache of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache") / "made on first use"
    monkeypatch.setenv("LAYERLINK_CACHE", str(folder))
    return folder
