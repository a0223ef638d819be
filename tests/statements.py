"""Counts the statements of the writer's last transaction, and how often it waited for the server."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.pq import PipelineStatus, TransactionStatus

from router.decide import Policy
from router.model import Millis, Webhook
from router.store import Store
from tests.database import busy_writer, queued_jobs
from tests.waiting import until

T = TypeVar("T")
_BEFORE_VALUES = re.compile(" VALUES | WHERE ")
_LENGTH = 40
"""How much of a statement is kept: enough for the table."""


class LastTransaction:
    """What the writer's last transaction ran, without its BEGIN and its COMMIT."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.round_trips = 0
        """How often it waited for the server, also for its BEGIN and its COMMIT; on SQLite 0."""

    def note(self, query: str | bytes) -> None:
        """Note a statement. Runs of one statement for more rows count as one."""
        sql = query.decode() if isinstance(query, bytes) else query
        if sql.startswith("BEGIN"):
            self.statements.clear()
            self.round_trips = 0
        if sql.startswith(("BEGIN", "COMMIT")):
            return
        start = _BEFORE_VALUES.split(sql)[0][:_LENGTH]
        if not (
            start.startswith(("INSERT ", "DELETE ")) and self.statements and self.statements[-1] == start
        ):
            self.statements.append(start)

    def trip(self, method: Callable[[], T], takes_one: Callable[[], bool] = lambda: True) -> Callable[[], T]:
        """Return the method of a driver, which takes a round trip. :param takes_one: whether it does so now"""

        def counted() -> T:
            self.round_trips += takes_one()
            return method()

        return counted


async def accept_in_one_batch(
    store: Store, webhooks: Sequence[tuple[Webhook, bytes]], policy: Policy, now: Millis
) -> None:
    """Accept webhooks in one batch of the writer, with their bodies."""

    async def all_wait() -> bool:
        return queued_jobs(store) == len(webhooks)

    async with busy_writer(store):
        accepting = [
            asyncio.create_task(store.accept(webhook, "default", body, policy, now))
            for webhook, body in webhooks
        ]
        await until(all_wait, "all webhooks wait")
    await asyncio.gather(*accepting)


async def watch_writer(store: Store) -> LastTransaction:
    """Watch the writer's connection from now on."""
    found = LastTransaction()

    def watch(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            driver.set_trace_callback(found.note)
            return
        driver.cursor_factory = _cursor(found)
        driver.pipeline = found.trip(driver.pipeline)
        driver.commit = found.trip(
            driver.commit, lambda: driver.info.transaction_status != TransactionStatus.IDLE
        )

    await store.database.write(watch)
    return found


def _cursor(found: LastTransaction) -> type[psycopg.Cursor[Any]]:
    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **named: Any) -> Any:
            self._note(query)
            return super().execute(query, *arguments, **named)

        def executemany(self, query: Any, *arguments: Any, **named: Any) -> None:
            self._note(query)
            super().executemany(query, *arguments, **named)

        def _note(self, query: str | bytes) -> None:
            found.note(query)
            is_alone = self.connection.pgconn.pipeline_status == PipelineStatus.OFF
            # The pipeline of a BEGIN was counted for the transaction before.
            found.round_trips += is_alone or query[:5] in {"BEGIN", b"BEGIN"}

    return Cursor
