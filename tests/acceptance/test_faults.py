"""The real process when its environment fails: the disk, the database, the log, a signal at a bad moment."""

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import ROOT, Router, answers, free_port, running, until
from tests.database import change

BODY = b'{"alerts": [{"labels": {"alertname": "Down", "severity": "critical", "note": "%s"}}]}' % (
    b"x" * 100_000
)


async def test_a_full_disk_answers_503_until_it_has_space(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router):
        assert await router.post(BODY) == 200
        await providers.pagerduty.until(lambda: bool(providers.pagerduty.accepted))
        with no_file_may_grow(router.pid, beyond=_size(folder / "router.db-wal")):
            assert [await router.post(BODY) for _ in range(3)] == [503] * 3
            assert await answers(f"{router.url}/healthz")
        assert await router.post(BODY) == 200
        assert await answers(f"{router.url}/-/ready")
    lines = [line for line in router.log.splitlines() if "the store can" in line]
    assert len(lines) == 2
    assert "disk I/O error: the disk fails, or a quota or limit is reached" in lines[0]
    assert '"refused": 3' in lines[1]


def _size(path: Path) -> int:
    return path.stat().st_size


@contextlib.contextmanager
def no_file_may_grow(pid: int, *, beyond: int) -> Iterator[None]:
    """Limit the size of files, like a quota. https://man7.org/linux/man-pages/man2/setrlimit.2.html"""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (beyond, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@asynccontextmanager
async def started(
    folder: Path, routes: str, *, port: int = 0, stderr: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start ``alert-router serve`` without waiting until it serves."""
    (folder / "routes.yaml").write_text(routes)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "serve", "--config", str(folder / "routes.yaml"), "--listen", f"127.0.0.1:{port}",
        "--database", f"sqlite:///{folder}/router.db", "--log", "json", cwd=ROOT, stderr=stderr,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _no_database(path: Path) -> None:
    path.write_text("this is no database\n" * 500)


def _newer(path: Path) -> None:
    change(
        path,
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('f00f')",
    )


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_database, "move the file away"),
        (_newer, "was written by another version of alert-router, which is newer"),
        (_folder, "Is a directory"),
    ],
)
async def test_a_database_that_cannot_be_used_ends_the_start_with_one_line(
    providers: Providers, folder: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(folder / "router.db")
    async with started(folder, providers.routes) as process:
        _, errors = await process.communicate()
    lines = [line for line in errors.decode().splitlines() if '"action": "stopped"' not in line]
    assert process.returncode == 1
    assert len(lines) == 1
    assert lines[0].startswith("The store can't be opened: ")
    assert str(folder) in lines[0]
    assert words in lines[0]


async def test_of_two_routers_on_one_database_one_serves(providers: Providers, folder: Path) -> None:
    async with started(folder, providers.routes) as one, started(folder, providers.routes) as other:
        first = asyncio.create_task(one.wait()), asyncio.create_task(other.wait())
        done, _ = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in done] == [1]
        refused, serving = (one, other) if one.returncode is not None else (other, one)
        assert refused.stderr is not None
        assert b"is in use by another alert-router" in await refused.stderr.read()
        assert serving.stderr is not None
        while b'"action": "serving"' not in await serving.stderr.readline():
            pass
        serving.terminate()
        assert await serving.wait() == 0


async def test_a_closed_log_pipe_stops_nothing(providers: Providers, folder: Path) -> None:
    reading, writing = os.pipe()
    port = free_port()
    async with started(folder, providers.routes, port=port, stderr=writing) as process:
        os.close(writing)
        await _ready(port)
        os.close(reading)
        for _ in range(2):
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"http://127.0.0.1:{port}/webhook", data=BODY) as answer,
            ):
                assert answer.status == 200
        await providers.pagerduty.until(lambda: bool(providers.pagerduty.accepted))
        await _ready(port)
        process.terminate()
        assert await process.wait() == 0


async def test_a_log_that_is_not_read_stops_nothing(providers: Providers, folder: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # some ten lines
    port = free_port()
    async with started(folder, providers.routes, port=port, stderr=writing) as process:
        os.close(writing)
        await _ready(port)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for _ in range(100):
                async with session.get("/status") as answer:
                    assert answer.status == 200
            async with session.post("/webhook", data=BODY) as answer:
                assert answer.status == 200
        await providers.pagerduty.until(lambda: bool(providers.pagerduty.accepted))
        process.terminate()
        assert await process.wait() == 0
    os.close(reading)


async def _ready(port: int) -> None:
    await until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the router is ready")


async def _in_the_middle_of_its_start(folder: Path) -> None:
    """Wait for the lock of the database, which a start takes before it loads rules, channels and the address."""

    async def locked() -> bool:
        return await asyncio.to_thread((folder / "router.db.lock").exists)

    await until(locked, "the start has begun")


async def test_a_stop_in_the_middle_of_the_start_is_a_clean_one(providers: Providers, folder: Path) -> None:
    async with started(folder, providers.routes) as process:
        await _in_the_middle_of_its_start(folder)
        process.terminate()
        _, errors = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in errors


async def test_a_hang_up_in_the_middle_of_the_start_is_a_reload_after_it(
    providers: Providers, folder: Path
) -> None:
    async with started(folder, providers.routes) as process:
        await _in_the_middle_of_its_start(folder)
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        said = [json.loads(await process.stderr.readline())["action"] for _ in range(3)]
        assert said[0].startswith("the database is new and empty")
        assert said[1:] == ["serving", "reloaded"]
