"""The real process starts while its database is away: it listens and waits, unless no waiting helps."""

from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import make_url

from tests.acceptance.processes import Router, answers, running, until
from tests.acceptance.test_service_manager import Manager
from tests.postgresql import PASSWORD, Server
from tests.unit.cli.commands import GOOD

_WAITS = "the start waits for the database"
_LONGEST_START = 15 * 60 * 1_000_000
"""In microseconds: what the unit for systemd allows a start, which may migrate the tables."""


def is_long_enough(state: str) -> bool:
    name, _, extension = state.partition("=")
    return name == "EXTEND_TIMEOUT_USEC" and int(extension) >= _LONGEST_START


@pytest.fixture
def url(own_postgresql: Server) -> str:
    name = own_postgresql.create()
    own_postgresql.execute("GRANT ALL ON SCHEMA public TO locked", name)
    return own_postgresql.url(name, f"locked:{PASSWORD}")


async def until_waiting(router: Router) -> None:
    async def lives() -> bool:
        return await answers(f"{router.url}/healthz")

    await router.spawn()
    await until(lives, "the router listens")


async def test_a_start_without_its_database_waits_and_then_goes_on(
    folder: Path, own_postgresql: Server, url: str
) -> None:
    own_postgresql.execute("ALTER ROLE locked PASSWORD 'other'")
    own_postgresql.stop()
    manager = Manager(f"{folder}/notify")
    router = Router(folder, GOOD, environ={"NOTIFY_SOCKET": f"{folder}/notify"}, database=url)
    try:
        await until_waiting(router)
        async with aiohttp.ClientSession(router.url) as session:
            async with session.get("/readyz") as answer:
                assert (answer.status, (await answer.json())["reason"]) == (
                    503,
                    f"{_WAITS}; the log says why",
                )
            async with session.get("/-/ready", headers={"Accept": "text/plain"}) as answer:
                assert (answer.status, await answer.text()) == (
                    503,
                    f"not ready: {_WAITS}; the log says why\n",
                )
            async with session.get("/healthz") as answer:
                assert (answer.status, (await answer.json())["database"]) == (200, "unwritable")
            async with session.post("/webhook", data=b"{}") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
                assert (await answer.json())["status"] == "unavailable"
            for path in ("/", "/metrics", "/status", "/api/v1/alerts", "/-/reload"):
                async with session.get(path) as answer:
                    assert answer.status == 503
        for _ in range(2):  # with each attempt
            assert is_long_enough(await manager.next())
        own_postgresql.start()
        own_postgresql.execute(f"ALTER ROLE locked PASSWORD '{PASSWORD}'")
        while (state := await manager.next()) != "READY=1":
            assert is_long_enough(state)
        assert await router.post(b"{}") == 202
    finally:
        assert await router.stop() == 0
        manager.close()
    assert router.log.count(_WAITS) == 1
    assert "the start goes on" in router.log
    assert PASSWORD not in router.log


async def test_a_start_waits_for_a_server_that_can_be_read_but_not_written(
    folder: Path, own_postgresql: Server, url: str
) -> None:
    """Its tables are of this version, so the opening has nothing else to write."""
    async with running(Router(folder, GOOD, database=url)):
        pass
    name = make_url(url).database
    own_postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    router = Router(folder, GOOD, database=url)
    try:
        await until_waiting(router)
        async with aiohttp.ClientSession(router.url) as session, session.get("/readyz") as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, f"{_WAITS}; the log says why")
        own_postgresql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await until(lambda: answers(f"{router.url}/readyz"), "the router serves")
        assert await router.post(b"{}") == 202
    finally:
        assert await router.stop() == 0
    assert router.log.count(_WAITS) == 1
    assert "this server is a standby or read-only" in router.log
    assert "the store can't be written" not in router.log


async def test_a_start_that_waits_ends_at_once(folder: Path, own_postgresql: Server, url: str) -> None:
    own_postgresql.stop()
    router = Router(folder, GOOD, database=url)
    await until_waiting(router)
    assert await router.stop() == 0
    assert "Traceback" not in router.log


async def test_a_start_for_which_no_waiting_helps_ends(
    folder: Path, own_postgresql: Server, url: str
) -> None:
    name = own_postgresql.create()
    own_postgresql.execute("CREATE TABLE recipes (name text)", name)
    latin = own_postgresql.create(more="ENCODING 'LATIN1' LOCALE 'C'")
    newer = url.partition("@/")[2].partition("?")[0]
    async with running(Router(folder, GOOD, database=url)):
        pass
    own_postgresql.execute("UPDATE alembic_version SET version_num = 'f00f'", newer)
    for database, says in (
        (own_postgresql.url(name), "belongs to another program"),
        (own_postgresql.url(latin), "its encoding is LATIN1"),
        (own_postgresql.url(newer), "is newer than this version"),
        ("postgresql:///?service=nowhere", "the service 'nowhere' is neither in"),
    ):
        router = Router(folder, GOOD, database=database)
        await router.spawn()
        assert await router.wait() == 1
        assert says in router.log
        assert "Traceback" not in router.log
