"""A server that is down, refuses, or is taken from the router: the messages for people, and how the router recovers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from router.core.state import ID, State
from router.store import Store, StoreUnavailable, read_ledger
from router.store.jobs.job import BaseJob
from tests.postgresql import PASSWORD, Server
from tests.postgresql import server as started
from tests.quarantine import quarantined_bytes
from tests.tcp_proxy import proxied


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    with postgresql.database() as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    store = await Store.open(url)
    yield store
    await store.close()


async def refusal(url: str) -> str:
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(url)
    text = str(refused.value)
    assert PASSWORD not in text
    assert "\n" not in text
    return text


def ended(server: Server) -> None:
    """The server ends the router's connections, as an administrator or a failover does."""
    server.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'alert-router'"
    )


async def test_webhooks_are_refused_while_the_server_is_stopped() -> None:
    with started() as server:
        store = await Store.open(server.url(server.create()))
        await store.quarantine(b"before", "default", "r", 1)
        server.stop()
        with capture_logs() as logs:
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="then the router resumes by itself"):
                    await store.quarantine(b"lost", "default", "r", 1)
            with pytest.raises(StoreUnavailable, match="start the server, or check the address"):
                await store.pages.status()
            server.start()
            await store.quarantine(b"after", "default", "r", 1)
        assert store.trouble is None
        assert await quarantined_bytes(store) == [b"after", b"before"]
        assert [each["event"].split(";")[0] for each in logs] == [
            "the store can't be written", "the store can be written again"
        ]  # fmt: skip
        await store.close()


async def test_a_lost_connection_costs_one_batch_at_most(store: Store, postgresql: Server) -> None:
    await store.quarantine(b"before", "default", "r", 1)
    await asyncio.to_thread(ended, postgresql)
    with pytest.raises(StoreUnavailable):
        await store.quarantine(b"lost", "default", "r", 1)
    assert len(await quarantined_bytes(store)) == 1
    await store.quarantine(b"after", "default", "r", 1)
    assert len(await quarantined_bytes(store)) == 2
    assert store.trouble is None


async def test_several_routers_write_to_one_database(store: Store, url: str) -> None:
    other = await Store.open(url)
    await asyncio.gather(
        *(each.quarantine(b"x", "default", "r", 1) for _ in range(5) for each in (store, other))
    )
    assert await quarantined_bytes(other) == [b"x"] * 10
    await other.close()


async def test_a_version_that_shares_no_database_is_refused(url: str) -> None:
    """Such a version holds this lock alone, as long as it runs."""
    with psycopg.connect(url) as old:
        old.execute("SELECT pg_advisory_lock(%s)", (0x616C657274_01,))
        assert "is in use by an alert-router of a version that can't share it" in await refusal(url)
    await (await Store.open(url)).close()


async def test_a_read_only_database_is_reported_and_then_written(
    store: Store, url: str, postgresql: Server
) -> None:
    """As a standby after a failover."""
    database = store.location.rpartition("/")[2]
    postgresql.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    await asyncio.to_thread(ended, postgresql)
    with pytest.raises(StoreUnavailable):
        await store.ready()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="this server is a standby or read-only; name the primary"):
            await store.ready()
    postgresql.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await store.ready()
    assert store.trouble is None


async def test_a_job_that_the_database_refuses_fails_alone(store: Store, postgresql: Server) -> None:
    """The other jobs of its batch succeed."""
    database = store.location.rpartition("/")[2]
    postgresql.execute("ALTER TABLE webhooks ADD CONSTRAINT small CHECK (length(body) < 100)", database)
    bodies = [b"x", b"x" * 1_000, b"y"]
    answers = await asyncio.gather(
        *(store.quarantine(each, "default", "r", 1) for each in bodies), return_exceptions=True
    )
    assert [isinstance(each, int) for each in answers] == [True, False, True]
    assert not isinstance(answers[1], StoreUnavailable)
    assert store.trouble is None


async def test_a_lock_of_another_session_is_an_error_after_a_wait(
    store: Store, url: str, postgresql: Server
) -> None:
    await store.close()
    hasty = await Store.open(f"{url}%20-c%20lock_timeout%3D50ms")
    with (
        postgresql.locking(hasty.location.rpartition("/")[2], "meta"),
        pytest.raises(StoreUnavailable, match="has held a lock for too long"),
    ):
        await hasty.ready()
    await hasty.ready()
    await hasty.close()


async def test_every_error_of_an_opening_is_told_in_words(url: str, postgresql: Server) -> None:
    """Those of the driver's own calls as well, which no library wraps."""
    database = url.partition("@/")[2].partition("?")[0]
    postgresql.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert "this server is a standby or read-only; name the primary" in await refusal(url)
    postgresql.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await (await Store.open(url)).close()
    with proxied(postgresql.socket) as proxy:
        through, size = postgresql.through(proxy, database), 100
        while True:
            proxy.cut_after(size)
            try:
                store = await Store.open(through)
            except StoreUnavailable as error:
                assert error.passes  # noqa: PT017  (the last attempt succeeds)
                size += 300
            else:
                break
        await store.close()
    assert size > 1_000


async def test_an_opening_that_fails_late_leaves_no_session(url: str, postgresql: Server) -> None:
    """A start that waits for its database opens it again and again."""
    await (await Store.open(url)).close()
    name = url.partition("@/")[2].partition("?")[0]
    with postgresql.locking(name, "dictionaries"):
        assert "another session (a replica, a migration or a person)" in await refusal(
            f"{url}%20-c%20lock_timeout%3D50ms"
        )
        left = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'alert-router'"
        )
        while postgresql.execute(left, name) != [(0,)]:  # a session ends a moment after its connection
            pass


class Look(BaseJob):
    """Reads an alert, as the preview of a digest does."""

    def want(self, state: State) -> None:
        state.alerts.want(ID, [1])

    def run(self, state: State) -> object:
        return state.alerts.get(1)


async def test_every_error_of_a_reader_is_told_in_words(url: str, postgresql: Server) -> None:
    store = await Store.open(f"{url}%20-c%20lock_timeout%3D50ms")

    def by_the_driver(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute("SELECT id FROM alerts")

    database = store.database
    with postgresql.locking(store.location.rpartition("/")[2], "alerts"):
        for read in (partial(database.look, Look()), partial(database.read, by_the_driver)):
            with pytest.raises(StoreUnavailable, match=r"another session .* has held a lock"):
                await read()
    await store.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_error_of_a_missing_server_has_its_address() -> None:
    port = closed_port()
    said = await refusal(f"postgresql://router:{PASSWORD}@127.0.0.1:{port}/alerts")
    assert said.startswith(f"postgresql://127.0.0.1:{port}/alerts: connection to server at ")
    assert "Connection refused; start the server, or check the address" in said


async def test_the_error_of_a_missing_socket_has_its_path(tmp_path: Path) -> None:
    said = await refusal(f"postgresql://router@/alerts?host={tmp_path}")
    assert said.startswith(f'postgresql://{tmp_path}/alerts: connection to server on socket "{tmp_path}/')


async def test_a_wrong_password_is_reported_and_not_shown(postgresql: Server) -> None:
    said = await refusal(postgresql.url("postgres", f"locked:{PASSWORD}x"))
    assert 'password authentication failed for user "locked"; ' in said


async def test_a_missing_database_is_reported(postgresql: Server) -> None:
    assert 'database "nowhere" does not exist; ' in await refusal(postgresql.url("nowhere"))


async def test_a_user_without_the_right_to_create_tables_is_reported(url: str, postgresql: Server) -> None:
    said = await refusal(url.replace("postgres@", f"locked:{PASSWORD}@"))
    assert "permission denied for schema public; grant that to the user in --database" in said


async def test_too_many_connections_are_reported(url: str, postgresql: Server) -> None:
    database = url.partition("@/")[2].partition("?")[0]
    postgresql.execute(
        f"GRANT ALL ON SCHEMA public TO locked; ALTER DATABASE {database} CONNECTION LIMIT 0", database
    )
    assert f'too many connections for database "{database}"' in await refusal(
        url.replace("postgres@", f"locked:{PASSWORD}@")
    )


async def test_a_database_without_utf8_is_refused(postgresql: Server) -> None:
    name = postgresql.create(more="ENCODING 'LATIN1' LOCALE 'C'")
    assert "its encoding is LATIN1, which can't keep every text" in await refusal(postgresql.url(name))


async def test_a_database_of_another_program_is_refused_and_gets_no_tables(
    url: str, postgresql: Server
) -> None:
    database = url.partition("@/")[2].partition("?")[0]
    postgresql.execute("CREATE TABLE recipes (name text)", database)
    assert "belongs to another program; give another --database" in await refusal(url)
    tables = postgresql.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database)
    assert tables == [("recipes",)]


async def test_a_database_of_a_newer_router_is_refused(store: Store, url: str, postgresql: Server) -> None:
    await store.close()
    postgresql.execute("UPDATE alembic_version SET version_num = 'f00f'", store.location.rpartition("/")[2])
    assert "which is newer than this version" in await refusal(url)


def test_reading_a_database_without_tables_fails_with_words(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="`alert-router serve` makes them, or updates older ones"):
        read_ledger(url, None, None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://router:{PASSWORD}@host:{PASSWORD}/alerts", "--database is no URL"),
        (f"postgresql://router:p@{PASSWORD}@host/alerts", "write an @ in the user or the password as %40"),
        (
            f"postgresql://router:p@{PASSWORD}/w0rd@host/alerts",
            "write an @ in the user or the password as %40",
        ),
        (f"postgresql://router:p@host/{PASSWORD}@alerts", "write an @ in the user or the password as %40"),
        (f"postgresql://router/{PASSWORD}@host/alerts", "write an @ in the user or the password as %40"),
        (
            f"postgresql://router:p@ss?{PASSWORD}=x@host/alerts",
            "write an @ in the user or the password as %40",
        ),
        (f"postgresql://router:{PASSWORD}@host/alerts?port=a", "--database is no URL"),
        (f"mysql://router:{PASSWORD}@host/alerts", "mysql: this kind of database is not supported"),
    ],
)
async def test_a_wrong_url_is_refused_without_showing_its_password(url: str, says: str) -> None:
    assert says in await refusal(url)


async def test_no_message_shows_a_password(postgresql: Server) -> None:
    name = postgresql.create()
    postgresql.execute("GRANT ALL ON SCHEMA public TO locked", name)
    with capture_logs() as logs:
        store = await Store.open(postgresql.url(name, f"locked:{PASSWORD}"))
        shown: list[Any] = [store.location, await store.pages.status()]
        await store.close()
    assert PASSWORD not in repr((shown, logs))
    assert store.location.endswith(f"/{name}")
