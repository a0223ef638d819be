"""How much of the database a reading looks at: a number that grows with the rows, not with the time that they take."""

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
    """Those that a plan's nodes found, and those that they left out."""
    left_out = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    own = (plan["Actual Rows"] + left_out) * plan["Actual Loops"]
    return int(own) + sum(map(_rows, plan.get("Plans", ())))


@contextmanager
def counted() -> Iterator[Work]:
    """The work of every statement that is run meanwhile, by whomever."""
    work = Work()
    sa.event.listen(sa.Engine, "before_cursor_execute", work._before)
    try:
        yield work
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", work._before)
        for each in work.watched:
            each.set_progress_handler(None, 0)
