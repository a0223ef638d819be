"""PostgreSQL fails in every way that it can: webhooks get 503 within seconds, lanes wait, and all continues by itself.

Nothing is lost, and nothing is sent twice: a message that is on its way when the database fails is recorded later.
"""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
import pytest

from router.model import SECOND
from router.store import StoreUnavailable, postgresql_session
from tests.memory import MEMORY
from tests.postgresql import PASSWORD, Server
from tests.tcp_proxy import TcpProxy, proxied
from tests.waiting import guarded
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_slack import Fault as SlackFault
from tests.world.fake_slack import Want

_ROOM = 64 * 1024**2
"""Bytes of the small disk. A new table space needs about 10 MiB."""

_PADDING = Random(1).randbytes(50_000).hex()
"""A label that is too large for the space that a table has left."""


@dataclass
class There:
    world: World
    server: Server
    proxy: TcpProxy
    name: str
    """The name of the database."""

    def end_sessions(self) -> None:
        """The server ends the router's sessions."""
        self.server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE datname = '{self.name}' AND pid <> pg_backend_pid()"
        )

    def move_to(self, tablespace: str) -> None:
        """Move the tables to another disk. The router can open no session meanwhile."""
        self.alter("ALLOW_CONNECTIONS false")
        self.end_sessions()
        self.alter(f"SET TABLESPACE {tablespace}")
        self.alter("ALLOW_CONNECTIONS true")

    def alter(self, what: str) -> None:
        self.server.execute(f"ALTER DATABASE {self.name} {what}")


@pytest.fixture
async def there(world: World, postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[There]:
    """A service whose statements may take a second."""
    for purpose in ("READS", "WRITES"):
        brief = replace(getattr(postgresql_session, purpose), idle_seconds=1, seconds=1)
        monkeypatch.setattr(f"router.store.postgresql.{purpose}", brief)
    name = postgresql.create()
    postgresql.execute("GRANT ALL ON SCHEMA public TO locked", name)
    with proxied(postgresql.socket) as proxy:
        brief = "%20-c%20lock_timeout%3D300ms%20-c%20statement_timeout%3D500ms&connect_timeout=2"
        world.database = postgresql.through(proxy, name, f"locked:{PASSWORD}") + brief
        yield There(world, postgresql, proxy, name)
        await world.end()
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def refused(there: There) -> Iterator[None]:
    there.proxy.refuse()
    yield
    there.proxy.accept_again()


@contextmanager
def hanging(there: There) -> Iterator[None]:
    there.proxy.hang()
    yield
    there.proxy.flow()


@contextmanager
def full(there: There) -> Iterator[None]:
    """The disk of the database is full."""
    disk = Path(tempfile.mkdtemp(prefix="pgdisk", dir=MEMORY))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        with _failing(there, "RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'"):
            yield
        return
    try:
        if there.server.system_user is not None:
            shutil.chown(disk, there.server.system_user)
        there.server.execute(f"CREATE TABLESPACE {there.name} LOCATION '{disk}'")
        there.move_to(there.name)
        _fill(disk)
        yield
        (disk / "filler").unlink()
        there.move_to("pg_default")
        there.server.execute(f"DROP TABLESPACE {there.name}")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
        disk.rmdir()


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@contextmanager
def read_only(there: There) -> Iterator[None]:
    """As a standby: the router has to reconnect afterwards."""
    there.alter("SET default_transaction_read_only = on")
    there.end_sessions()
    yield
    there.alter("RESET default_transaction_read_only")


@contextmanager
def without_connections(there: There) -> Iterator[None]:
    there.alter("CONNECTION LIMIT 0")
    there.end_sessions()
    yield
    there.alter("CONNECTION LIMIT -1")


@contextmanager
def other_password(there: There) -> Iterator[None]:
    there.server.execute("ALTER ROLE locked PASSWORD 'other'")
    there.end_sessions()
    yield
    there.server.execute(f"ALTER ROLE locked PASSWORD '{PASSWORD}'")


@contextmanager
def locked(there: There) -> Iterator[None]:
    with there.server.locking(there.name, "meta"):
        yield


@contextmanager
def slow(there: There) -> Iterator[None]:
    with _failing(there, "PERFORM pg_sleep(30)"):
        yield


@contextmanager
def _failing(there: There, statement: str) -> Iterator[None]:
    """Each insert runs a statement that fails."""
    there.server.execute(
        f"CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {statement.replace(chr(39), chr(39) * 2)}; "
        "RETURN NEW; END'; CREATE TRIGGER fails BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION fails()",
        there.name,
    )
    yield
    there.server.execute("DROP FUNCTION fails CASCADE", there.name)


Outage = Callable[[There], AbstractContextManager[None]]
_SAYS: dict[Outage, str] = {
    refused: "start the server, or check the address",
    hanging: "check the server, and the network or a proxy before it",
    full: "the server's disk is full; make room",
    read_only: "this server is a standby or read-only; name the primary",
    without_connections: "too many connections",
    other_password: "password authentication failed",
    locked: "has held a lock for too long",
    slow: "the server is too slow, or overloaded",
}


@pytest.mark.parametrize("outage", _SAYS)
async def test_an_outage_refuses_webhooks_and_all_goes_on_by_itself(there: There, outage: Outage) -> None:
    world = there.world
    await world.start()
    world.slack.fail(SlackFault(hang=True))
    assert await world.post("Down", "critical") == 200
    await world.slack.until(lambda: bool(world.slack.calls))
    await until_delivered(world, 2)
    with outage(there):
        assert await world.post("Lost", "critical", note=_PADDING) == 503
        world.slack.release()  # the message arrives, and can't be recorded yet
        await world.slack.until(lambda: bool(world.slack.messages))
        assert [await world.post("Lost", "critical", note=_PADDING) for _ in range(2)] == [503, 503]
        assert world.service is not None
        assert _SAYS[outage] in str(world.service.store.trouble)
        assert PASSWORD not in str(world.service.store.trouble)
        assert await statuses(world, "/healthz", "/metrics") == [200, 200]
        if outage is not full:  # a little fits into the space that the tables have
            assert await statuses(world, "/-/ready") == [503]
        for page in ("/status", "/"):
            assert (await statuses(world, page))[0] in {200, 503}
    await recovered(world)
    assert await world.fates() == {"delivered": 6}
    assert len(world.slack.messages) == 2  # Down, which was recorded later, and Back
    assert {key: each for each in (await world.ledger())["deliveries"].values() for key in each} == {
        "delivered": {"delivered": 2}
    }


async def recovered(world: World) -> None:
    """Post until a webhook is accepted, and wait until all is sent."""
    assert world.service is not None
    store, fates = world.service.store, dict[str, int]()
    async with guarded(lambda: f"trouble: {store.trouble}; delivered: {fates}"):
        while await world.post("Back", "critical") != 200:
            pass
        while (fates := (await store.pages.status())["fates"])["delivered"] < 6:
            world.clock.advance(2 * SECOND)
            try:
                await store.ready()
            except StoreUnavailable:
                continue


async def statuses(world: World, *paths: str) -> list[int]:
    assert world.service is not None
    found = []
    async with aiohttp.ClientSession() as session:
        for path in paths:
            async with session.get(f"{world.service.url}{path}") as answer:
                found.append(answer.status)
    return found


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_of_the_server_loses_nothing(world: World, own_postgresql: Server, mode: str) -> None:
    world.database = own_postgresql.url(own_postgresql.create())
    await world.start()
    assert await world.post("Down", "critical") == 200
    own_postgresql.restart(mode)  # type: ignore[arg-type]
    await recovered(world)
    world.slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0CRITICAL", ("Back",)))
    assert await world.fates() == {"delivered": 6}
    await world.end()
