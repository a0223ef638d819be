"""How much waits to be decided is counted again at a takeover, without holding up the writer."""

import asyncio
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from router.core.undecided_count import SMALL_WEBHOOK, UNDECIDED, UndecidedCount
from router.store import Store, undecided_webhooks
from router.store.starts import set_meta
from tests.database import busy_writer, queued_jobs
from tests.unit.core.world import NOON, alert, webhook
from tests.waiting import until

LARGE = SMALL_WEBHOOK + 1


async def keep(store: Store, name: str, alerts: int = 1) -> None:
    body = webhook(*(alert(f"{name}{number}", "info") for number in range(alerts)), group=name)
    await store.undecided.keep(body, "default", b"{}", NOON)


async def set_count(store: Store, value: str) -> None:
    await store.database.write(partial(set_meta, key=UNDECIDED, value=value))


async def test_a_count_that_is_right_needs_no_writer(store: Store) -> None:
    assert await store.undecided.recount() == UndecidedCount()
    await keep(store, "A")
    await keep(store, "B", LARGE)
    async with busy_writer(store):
        assert await store.undecided.recount() == UndecidedCount(1 + LARGE, 1)


@pytest.mark.parametrize("wrong", ["0 0", "7 7"])
async def test_a_wrong_count_is_corrected(store: Store, wrong: str) -> None:
    await keep(store, "A")
    await keep(store, "B", LARGE)
    await set_count(store, wrong)
    assert await store.undecided.recount() == UndecidedCount(1 + LARGE, 1)
    assert await store.undecided.count() == UndecidedCount(1 + LARGE, 1)


async def test_what_is_kept_while_it_counts_is_not_forgotten(store: Store) -> None:
    await keep(store, "A")
    await set_count(store, "7 7")
    async with busy_writer(store):
        keeping = asyncio.create_task(keep(store, "B"))
        counting = asyncio.create_task(store.undecided.recount())

        async def both_wait() -> bool:
            return queued_jobs(store) == 2

        await until(both_wait, "it has counted, and waits for the writer")
    await keeping
    assert await counting == UndecidedCount(2, 2)
    assert await store.undecided.count() == UndecidedCount(2, 2)


async def test_only_an_index_is_read_to_count(store: Store) -> None:
    """Bodies are not read, however many wait."""

    def plan(connection: sa.Connection) -> str:
        seen: list[str] = []

        def explain(own: sa.Connection, _cursor: object, sql: str, values: Any, *_: object) -> None:
            if sql.startswith("SELECT"):
                how = "EXPLAIN " if own.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
                cursor = own.connection.cursor()
                cursor.execute(how + sql, values)
                seen.extend(map(str, cursor.fetchall()))

        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        sa.event.listen(connection, "before_cursor_execute", explain)
        undecided_webhooks._count_again(connection)
        return "\n".join(seen)

    await keep(store, "A")
    found = await store.database.read(plan)
    assert "ix_webhooks_undecided" in found
    assert "Index Only Scan" in found or "COVERING INDEX" in found
