"""What the tests of the sources share: the real data, and a cache folder of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test may see, or write, the cache of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache") / "made on first use"
    monkeypatch.setenv("LAYERLINK_CACHE", str(folder))
    return folder
