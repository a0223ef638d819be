"""The connection to PostgreSQL is lost at a commit: each caller gets what became of it, once, as soon as that is known."""

import asyncio
import select
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.abc import RV, PQGen
from psycopg.waiting import Ready, Wait

from router.core.settled import BatchEvents
from router.store import Store, StoreUnavailable
from router.store.backend import open_backend
from router.store.postgresql import Postgresql
from router.store.postgresql_session import UnexpectedAnswers
from router.store.row_writes import BatchEnd, BatchId
from tests.postgresql import Server
from tests.quarantine import quarantined_bytes
from tests.tcp_proxy import TcpProxy, proxied
from tests.unit.core.world import NOON, POLICY, alert, webhook
from tests.waiting import until


@dataclass
class Lossy:
    store: Store
    proxy: TcpProxy
    name: str

    def lose(self, *orders: str | None) -> None:
        """Say what happens to the next commits."""
        left = list(orders)
        self.proxy.on_commit = lambda _number: left.pop(0) if left else None

    def lose_and_refuse(self, order: str) -> None:
        """Lose the next commit, and refuse new connections."""

        def lose(_number: int) -> str:
            self.proxy.refuse_new()
            return order

        self.proxy.on_commit = lose

    async def keep(self, body: bytes) -> int:
        return await self.store.quarantine(body, "default", "r", 1)

    async def has_committed(self, batch: BatchId) -> bool:
        return await self.store.database.read(lambda connection: Postgresql.has_committed(connection, batch))


async def in_trouble(store: Store) -> None:
    """Wait until the router could not ask the server."""

    async def is_in_trouble() -> bool:
        return store.trouble is not None

    await until(is_in_trouble, "the store can't be written")


@pytest.fixture
async def lossy(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lossy]:
    monkeypatch.setattr("router.store.writer._FIND_OUT_SECONDS", 0.05)
    name = postgresql.create()
    with proxied(postgresql.socket) as proxy:
        store = await Store.open(postgresql.through(proxy, name))
        yield Lossy(store, proxy, name)
        await store.close()
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("order", ["after", "ended", "cancelled", "cancelled, not ready"])
async def test_a_commit_whose_answer_is_lost_succeeds_and_counts_once(lossy: Lossy, order: str) -> None:
    store, seen = lossy.store, list[BatchEvents]()
    store.observe_events(seen.append)
    commits = store.commits
    lossy.lose(order)
    receipt = await store.accept(webhook(alert("Down", "critical")), "default", b"{}", POLICY, NOON)
    assert receipt.webhook > 0
    assert len(seen) <= 1
    assert store.commits == commits + 1
    assert store.trouble is None


async def test_a_commit_that_never_arrived_fails_and_leaves_nothing(lossy: Lossy) -> None:
    lossy.lose("before")
    with pytest.raises(StoreUnavailable, match="the connection was lost at a commit; nothing was saved"):
        await lossy.keep(b"lost")
    await lossy.keep(b"kept")
    assert await quarantined_bytes(lossy.store) == [b"kept"]


def wait_for_all(
    connection: psycopg.Connection, gen: PQGen[RV], _interval: float = 0.1, _timeout: float | None = None
) -> RV:
    """Wait for the server like a driver that is slow: when it reads, what the proxy sends together is there. In place of the
    driver's own wait.
    """
    try:
        wanted, has_sent = next(gen), False
        while True:
            if wanted == Wait.R or has_sent:
                assert select.select([connection.fileno()], [], [], 60)[0]
                ready = Ready.RW if wanted == Wait.RW else Ready.R
            else:
                ready, has_sent = Ready.W, True
            wanted = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result


@pytest.mark.parametrize(
    ("order", "raised"),
    [("cancelled", UnexpectedAnswers), ("cancelled, not ready", psycopg.errors.QueryCanceled)],
)
async def test_what_the_server_says_after_its_answer_undoes_nothing(
    lossy: Lossy, postgresql: Server, order: str, raised: type[psycopg.Error], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example an administrator cancels the statement when it is committed, and the server logs how long that took."""
    backend = open_backend(postgresql.through(lossy.proxy, lossy.name), 1)
    connection = backend.open_writer()
    end = BatchEnd((), changes=True, id=BatchId("w", 1), now=NOON, notice="")
    driver = connection.connection.driver_connection
    assert driver is not None
    connection.begin()
    lossy.lose(order)
    with monkeypatch.context() as patched:
        if order == "cancelled":
            patched.setattr(psycopg.Connection, "wait", wait_for_all)
        with pytest.raises(raised) as said:
            backend.finish(driver.cursor(), end)
    assert driver.closed
    assert backend.is_commit_unknown(driver, said.value)
    connection.invalidate()
    backend.close()
    assert await lossy.has_committed(end.id)


@pytest.mark.parametrize("commits", [False, True])
async def test_an_error_undoes_a_batch_unless_its_commit_was_answered(
    lossy: Lossy, postgresql: Server, *, commits: bool
) -> None:
    """Also if the session goes on after the error."""
    backend = open_backend(postgresql.url(lossy.name), 1)
    connection = backend.open_writer()
    driver = connection.connection.driver_connection
    assert driver is not None
    connection.begin()
    driver.committing = cursor = driver.cursor()
    if commits:
        cursor.execute("COMMIT")
    with pytest.raises(psycopg.errors.QueryCanceled) as said:
        driver.execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)")
    assert not driver.closed
    assert backend.is_commit_unknown(driver, said.value) is commits
    connection.invalidate()
    backend.close()


async def test_the_question_may_be_lost_as_well(lossy: Lossy) -> None:
    lossy.lose("after", "before", "after", "after")
    await lossy.keep(b"kept")
    assert await quarantined_bytes(lossy.store) == [b"kept"]


@pytest.mark.parametrize("order", ["before", "after", "ended", "cancelled", "cancelled, not ready"])
async def test_a_caller_waits_until_the_server_can_be_asked(lossy: Lossy, order: str) -> None:
    lossy.lose_and_refuse(order)
    waiting = asyncio.create_task(lossy.keep(b"unknown"))
    await in_trouble(lossy.store)
    with pytest.raises(StoreUnavailable):  # other jobs fail meanwhile
        await lossy.keep(b"refused")
    assert not waiting.done()
    lossy.proxy.on_commit = lambda _number: None
    lossy.proxy.accept_again()
    if order == "before":
        with pytest.raises(StoreUnavailable, match="nothing was saved"):
            await waiting
    else:
        await waiting
    assert await quarantined_bytes(lossy.store) == ([] if order == "before" else [b"unknown"])


async def test_a_close_does_not_wait_for_the_server(lossy: Lossy) -> None:
    lossy.lose_and_refuse("after")
    waiting = asyncio.create_task(lossy.keep(b"unknown"))
    await in_trouble(lossy.store)
    await lossy.store.close()
    with pytest.raises(StoreUnavailable):
        await waiting


async def test_a_job_that_runs_again_alone_may_lose_its_commit(lossy: Lossy, postgresql: Server) -> None:
    """A row that the database refuses makes the others run again, each in a transaction of its own."""
    postgresql.execute("ALTER TABLE webhooks ADD CONSTRAINT small CHECK (length(body) < 100)", lossy.name)
    bodies = [b"x", b"x" * 1_000, b"y", b"z"]
    lossy.lose("after", "before", "after")
    answers = await asyncio.gather(*map(lossy.keep, bodies), return_exceptions=True)
    kept = [body for body, answer in zip(bodies, answers, strict=True) if not isinstance(answer, Exception)]
    assert set(await quarantined_bytes(lossy.store)) == set(kept)
    assert b"x" * 1_000 not in kept


async def test_what_a_crash_undid_is_not_taken_for_what_came_after_it(
    own_postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash, the server gives the numbers of lost transactions to others."""
    monkeypatch.setattr("router.store.writer._FIND_OUT_SECONDS", 0.05)
    name, stopped = own_postgresql.create(), threading.Event()

    def crash(_number: int) -> str:
        own_postgresql.stop("immediate")
        proxy.refuse_new()
        stopped.set()
        return "before"

    async def is_kept() -> bool:
        with suppress(StoreUnavailable):
            await other.quarantine(b"kept", "default", "r", 1)
            return True
        return False

    with proxied(own_postgresql.socket) as proxy:
        store = await Store.open(own_postgresql.through(proxy, name))
        other = await Store.open(own_postgresql.url(name))
        proxy.on_commit = crash
        waiting = asyncio.create_task(store.quarantine(b"lost", "default", "r", 1))
        await asyncio.to_thread(stopped.wait)
        await asyncio.to_thread(own_postgresql.start)
        for _ in range(3):
            await until(is_kept, "another process writes")
        proxy.on_commit = lambda _number: None
        proxy.accept_again()
        with pytest.raises(StoreUnavailable, match="nothing was saved"):
            await waiting
        assert await quarantined_bytes(other) == [b"kept"] * 3
        await store.close()
        await other.close()
