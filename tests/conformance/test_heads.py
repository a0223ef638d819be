"""The head of a batch on PostgreSQL: what it sees, and what its time says."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest
import sqlalchemy as sa

from router.clock import DatabaseClock
from router.model import Millis
from router.store import Store
from router.store.starts import set_meta
from tests.postgresql import Server
from tests.waiting import until

_LOCK = "x'616c65727402'::bigint"
_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = x'65727402'::bigint::oid)"


class Observed(DatabaseClock):
    """Keeps what it was told, and follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, float]] = []

    def observe(self, now: Millis, began: float, ended: float) -> None:
        self.told.append((began, ended))
        super().observe(now, began, ended)


@pytest.fixture
async def database(postgresql: Server) -> AsyncIterator[str]:
    with postgresql.database() as url:
        yield url


async def waits(connection: psycopg.Connection[tuple[bool]]) -> bool:
    return connection.execute(_WAITS).fetchone() == (True,)


async def test_a_head_that_waited_for_the_lock_says_so(database: str) -> None:
    """Otherwise the time before the wait would be taken for the time of the database now."""
    store = await Store.open(database)
    store.database.clock = clock = Observed()
    with psycopg.connect(database, autocommit=True) as other:
        other.execute(f"SELECT pg_advisory_lock({_LOCK})".encode())
        writing = asyncio.create_task(store.database.write(lambda _connection: None))
        await until(lambda: waits(other), "the batch waits for the lock")
        between = time.monotonic()  # real time: the interval has to contain it
        clock.told.clear()
        other.execute(f"SELECT pg_advisory_unlock({_LOCK})".encode())
        await writing
    began, ended = clock.told[0]
    assert began < between < ended
    await store.close()


async def test_a_head_sees_what_was_committed_before_its_lock(database: str) -> None:
    """Whatever isolation is the default of the session."""
    store = await Store.open(f"{database}%20-c%20default_transaction_isolation%3Drepeatable%5C%20read")

    def isolation_and_value(connection: sa.Connection) -> tuple[str, str]:
        isolation = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
        return isolation, connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'seen'").scalar_one()

    await store.database.write(lambda connection: set_meta(connection, "seen", "before"))
    with psycopg.connect(database, autocommit=True) as other:
        other.execute(f"SELECT pg_advisory_lock({_LOCK})".encode())
        writing = asyncio.create_task(store.database.write(isolation_and_value))
        await until(lambda: waits(other), "the batch waits for the lock")
        other.execute("UPDATE meta SET value = 'after' WHERE key = 'seen'")
        other.execute(f"SELECT pg_advisory_unlock({_LOCK})".encode())
        assert await writing == ("read committed", "after")
    await store.close()
