"""Fixtures and settings of all tests."""

import asyncio
import gc
import io
import logging
import os
import signal
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy.util import LRUCache

from tests.listening import still_open
from tests.memory import MEMORY
from tests.postgresql import Server, server

NO_SKIPS = bool(os.environ.get("TESTS_NO_SKIPS"))

if MEMORY is not None:
    os.environ.setdefault(
        "PYTEST_DEBUG_TEMPROOT", str(MEMORY)
    )  # before pytest creates the first folder of a test

# A script's background process ignores SIGINT, and so would the programs that tests start and end with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Show exceptions like Python does: structlog's default draws all local variables, which takes a second.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# The time of an example depends on how busy the machine is.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
# `make test` runs the same examples every time: a failure is caused by a change, and is the same on every machine.
settings.register_profile(
    "suite", settings.get_profile("untimed"), derandomize=True, database=None, max_examples=15
)
# `make hunt` runs different examples each time, and keeps failed ones in .hypothesis/.
settings.register_profile("hunt", settings.get_profile("untimed"), derandomize=False, max_examples=1_000)
settings.load_profile("suite")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  (pytest's hook)
    """For a test that hangs, show where each of its tasks waits. With TESTS_NO_SKIPS, make a skip a failure:
    something that the suite needs is not installed.
    """
    outcome = yield
    report = outcome.get_result()
    if report.failed and "from pytest-timeout" in str(call.excinfo.value):
        report.sections.append(("Where it hangs", _waiting()))
    if NO_SKIPS and report.skipped:
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"{item.nodeid} must not be skipped here: {reason}"


class _CompiledByDialect(LRUCache[Any, Any]):
    """A cache of compiled statements for each kind of database instead of each engine. Every test opens a new store, which
    would compile all statements again.
    """

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_by_dialect(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_by_dialect(key), value)

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_by_dialect(key), default)


def _by_dialect(key: Any) -> Any:
    dialect, *rest = key
    return dialect.name, *rest


@pytest.fixture(autouse=True, scope="session")
def _compiled_once() -> Iterator[None]:
    compiled, create = _CompiledByDialect(2_000), sa.create_engine

    def created(*given: Any, **named: Any) -> sa.Engine:
        engine = create(*given, **named)
        engine._compiled_cache = compiled
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa, "create_engine", created)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nothing_left_open() -> Iterator[None]:
    """Fail a test that leaves a connection open. Otherwise a later test fails, when the connection is collected."""
    close = BaseSelectorEventLoop.close

    def closed(loop: BaseSelectorEventLoop) -> None:
        close(loop)
        left = [(each, each._sock, each.get_protocol()) for each in still_open(loop)]
        assert not left, f"connections left open: {left}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseSelectorEventLoop, "close", closed)
        yield


@pytest.fixture
def logs_restored() -> Iterator[None]:
    """Restore the logging after a test that configures it."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Yield a server that starts with the first test of a worker that needs it."""
    with server() as started:
        yield started


@pytest.fixture
def own_postgresql() -> Iterator[Server]:
    """Yield a server for a test that stops it."""
    with server() as started:
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests of real processes among the others: they mostly wait, and the others keep the cores busy. Leave out those
    that take too long for a busy machine, except in a hunt.
    """
    if "CHAOS_SEED" not in os.environ:
        items[:] = [each for each in items if each.get_closest_marker("hunt_only") is None]
    waiting = [each for each in items if each.path.parent.name == "acceptance"]
    busy = [each for each in items if each.path.parent.name != "acceptance"]
    share = len(busy) / (len(waiting) + 1)
    positions: dict[int, float] = {id(each): number for number, each in enumerate(busy)}
    positions |= {id(each): number * share for number, each in enumerate(waiting)}
    items.sort(key=lambda each: positions[id(each)])


def _waiting() -> str:
    tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and not each.done()]
    with io.StringIO() as shown:
        for task in tasks:
            task.print_stack(file=shown)
        return shown.getvalue()


def pytest_collection_finish() -> None:
    """Exempt imported and collected objects from garbage collection: they live until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_xdist_auto_num_workers() -> int:
    """Return two more than there are cores: some tests wait more than they compute."""
    return min(8, (os.cpu_count() or 1) + 2)
