"""What tests share: where the big data lies, how many cases property tests run, and that they are counted."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, is_hypothesis_test, settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# `make test` runs few cases, the same ones every time; `make test-long` (--hypothesis-profile long) many, new ones
# every time: what fails is printed with the line that repeats it.
_COMMON: dict[str, Any] = {
    "deadline": 20_000,  # milliseconds a case: slower is as good as hanging
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("short", max_examples=50, derandomize=True, **_COMMON)
settings.register_profile("long", max_examples=900, derandomize=False, print_blob=True, **_COMMON)
settings.load_profile("short")
_run = {"cases": 0}


def pytest_configure() -> None:
    # The key by which a user's runs are known is one of these tests' own, for the processes that they start, too.
    os.environ["LAYERLINK_CONFIG"] = tempfile.mkdtemp(prefix="layerlink-tests-")
    # Tests that import it themselves tell nobody of it either, as layerlink.optional sees to elsewhere.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # A shell's background job inherits that Ctrl-C is ignored; tests of Ctrl-C, and processes they start, need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--least-cases", type=int, default=0, help="fail where property tests run fewer cases than this")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for function in {item.obj for item in items if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)}:
        handle = function.hypothesis
        handle.inner_test = _counted(handle.inner_test)


def _counted(test: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(test)
    def counted(*arguments: Any, **named: Any) -> None:
        test(*arguments, **named)
        _run["cases"] += 1  # a case that was thrown away, or that failed, does not come here

    return counted


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # of pytest-xdist: a process that ran some of the tests has ended
    _run["cases"] += getattr(node, "workeroutput", {}).get("cases", 0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cases"] = _run["cases"]
    elif session.exitstatus == 0 and _run["cases"] < session.config.getoption("--least-cases"):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    least = terminalreporter.config.getoption("--least-cases")
    if _run["cases"] or least:
        few = f"; expected at least {least:,}" if _run["cases"] < least else ""
        terminalreporter.write_line(f"property cases: {_run['cases']:,}{few}", red=bool(few))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; missing it is a failure in CI and a skip elsewhere."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} is missing")
        pytest.skip(f"{SHARED} with the real data is not here")
    return SHARED


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
