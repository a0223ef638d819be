"""The service behind PgBouncer, in its session and its transaction mode."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from router.store import StoreUnavailable
from tests.acceptance.processes import free_port
from tests.memory import MEMORY
from tests.postgresql import Server
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_slack import Want

_PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
_CONFIG = """
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 10
"""

pytestmark = pytest.mark.skipif(_PROGRAM is None, reason="needs PgBouncer: apt-get install pgbouncer")


@contextmanager
def pgbouncer(server: Server, mode: str) -> Iterator[int]:
    """Yield the port of a running PgBouncer."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="pgbouncer", dir=MEMORY))
    (folder / "pgbouncer.ini").write_text(_CONFIG.format(server=server.socket.parent, port=port, mode=mode))
    folder.chmod(0o755)
    # It refuses to run as root.
    assert _PROGRAM is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [_PROGRAM, folder / "pgbouncer.ini"], stdout=log, stderr=log, user=server.system_user, cwd="/"
        )
    try:
        while not _answers(port):
            assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(params=["session", "transaction"])
async def there(
    world: World, postgresql: Server, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[World, str]]:
    name = postgresql.create()
    with pgbouncer(postgresql, request.param) as port:
        world.database = f"postgresql://postgres@127.0.0.1:{port}/{name}"
        yield world, name
        await world.end()
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_all_is_sent_behind_pgbouncer_and_after_a_restart(
    there: tuple[World, str], postgresql: Server
) -> None:
    world, name = there
    await world.start()
    for number in range(8):  # psycopg would prepare the statements that run more than five times
        assert await world.post(f"Info{number}", "info") == 200
    assert await world.post("Down", "critical") == 200
    await until_delivered(world, 3)
    postgresql.execute(
        f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    while await world.post("Down", "critical", "resolved") != 200:
        pass
    assert world.service is not None
    while (await world.service.store.pages.status())["fates"]["delivered"] < 6:
        world.clock.advance(2_000)
        try:
            await world.service.store.ready()
        except StoreUnavailable:
            continue
    world.slack.expect(Want("C0CRITICAL", ("Down", "Resolved"), replies=("resolved",)))
    assert await world.fates() == {"delivered": 6, "digest": 8}


async def test_the_routers_settings_hold_behind_pgbouncer(
    there: tuple[World, str], postgresql: Server
) -> None:
    """They hold for the router's transactions only, because other programs may get the same server connections."""
    world, name = there
    postgresql.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await world.start()
    assert world.service is not None
    shown: list[str] = []

    def show(connection: sa.Connection) -> None:
        names = ("idle_in_transaction_session_timeout", "lock_timeout", "synchronous_commit")
        shown.extend(connection.exec_driver_sql(f"SHOW {each}").scalar_one() for each in names)

    await world.service.store.database.write(show)
    assert shown == ["3s", "10s", "on"]
    port = str(world.database).partition("127.0.0.1:")[2].partition("/")[0]
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/{name}") as other:
        assert other.execute("SHOW lock_timeout").fetchone() == ("0",)


async def test_notices_that_can_not_be_heard_are_not_waited_for(
    there: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler may give the session that listens to somebody else. So the router asks more often instead."""
    world, _ = there
    listeners: list[object] = []
    monkeypatch.setattr("router.store.postgresql.Listener", lambda *given: listeners.append(given))
    await world.start()
    assert world.service is not None
    assert not world.service.store.is_hearing
    assert not listeners
