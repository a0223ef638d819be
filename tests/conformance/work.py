"""Measures the work of a query: a number that grows with the rows that it reads, not with its time."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

_STEP = 10


class Work:
    """``done``: instructions of SQLite's virtual machine, or rows that PostgreSQL looked at."""

    def __init__(self) -> None:
        self.done = 0
        self.watched: set[sqlite3.Connection] = set()

    def _before(self, connection: sa.Connection, _cursor: Any, sql: str, values: Any, *_: object) -> None:
        driver: Any = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            driver.set_progress_handler(self._step, _STEP)
            self.watched.add(driver)
        elif sql.lstrip("(").startswith(("SELECT", "WITH")):
            cursor = driver.cursor()
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
            ((found,),) = cursor.fetchall()
            (whole,) = json.loads(found) if isinstance(found, str) else found
            self.done += _rows(whole["Plan"])

    def _step(self) -> int:
        self.done += _STEP
        return 0


def _rows(plan: dict[str, Any]) -> int:
    """The rows that a plan's nodes returned, and those that they filtered out."""
    left_out = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    own = (plan["Actual Rows"] + left_out) * plan["Actual Loops"]
    return int(own) + sum(map(_rows, plan.get("Plans", ())))


@contextmanager
def counted() -> Iterator[Work]:
    """Measure the work of all statements that run meanwhile."""
    work = Work()
    sa.event.listen(sa.Engine, "before_cursor_execute", work._before)
    try:
        yield work
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", work._before)
        for each in work.watched:
            each.set_progress_handler(None, 0)
