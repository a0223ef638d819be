"""How rows are looked up and written in PostgreSQL: with few round trips, and with plans that stay right.

All rows of a batch are written by one statement, with one parameter a table: its rows as a JSON array. All look-ups of a
step are sent together (https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html).

These statements are prepared, and so are the queries that are marked ``has_one_plan``. They have one plan for all keys: to plan
a look-up takes longer than to run it, and the checks of foreign keys are planned row by row otherwise. Such a plan is kept
while its tables grow, so it has to be one that is also right for large tables. :data:`PLANS` and the form of the look-ups
ensure that.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import psycopg

from router.lenient_json import replace_unfit
from router.store.notices import CHANNEL
from router.store.row_writes import BatchEnd, RowInsert, RowWrites, on_conflict
from router.store.sets import Lookup

PLANS = "set_config('plan_cache_mode', 'auto', true), set_config('enable_seqscan', 'off', true)"
"""Settings of a transaction that writes: prepared statements have one plan, and find rows by an index even if the table is
small. https://www.postgresql.org/docs/current/runtime-config-query.html
"""
_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]
PREPARED_STATEMENTS = 400
"""The largest number of prepared statements of a connection. Batches that change the same tables share one."""
NEVER = 1_000_000_000
"""Executions before a statement is prepared that does not ask for it: such a statement is planned for its parameters."""


class PostgresqlRows:
    """See :class:`router.store.sets.Dialect`."""

    @staticmethod
    def lookup(table: str, kinds: list[str], condition: str) -> str:
        # OFFSET keeps the planner from joining in another way than by looking the keys up one by one.
        return (
            f"(SELECT {_values(kinds)} FROM jsonb_array_elements(%s::jsonb)) k "
            f"CROSS JOIN LATERAL (SELECT * FROM {table} t WHERE {condition} OFFSET 0) t"
        )

    @staticmethod
    def compile(statement: sa.CompoundSelect[Any]) -> sa.Compiled:
        return statement.compile(dialect=_DIALECT)

    @staticmethod
    def load(cursor: Any, lookups: Sequence[Lookup]) -> Iterator[Sequence[Any]]:
        driver = cursor.connection
        # A pipeline sends more messages than one statement needs.
        with driver.together() if len(lookups) > 1 else nullcontext():
            running = [
                driver.cursor().execute(each.sql, each.parameters, prepare=each.has_one_plan)
                for each in lookups
            ]
        return (each.fetchall() for each in running)

    @staticmethod
    def save(cursor: Any, writes: RowWrites) -> None:
        _save(cursor, writes)

    @staticmethod
    def finish(cursor: Any, end: BatchEnd) -> None:
        """Write what is left and commit, in one round trip."""
        with cursor.connection.together():
            if end.changes:
                batch = (end.id.writer, end.id.number, end.now)
                _save(cursor, [*end.writes, (_LAST_BATCH, [batch])], end.notice)
            cursor.connection.committing = cursor
            cursor.execute("COMMIT")


_LAST_BATCH = RowInsert(
    "writers", ("id", "batch", "at"), ("text", "bigint", "bigint"),
    on_conflict(("id",), ("batch", "at")),
)  # fmt: skip
"""Notes the last batch of a writer, see :meth:`router.store.backend.Backend.has_committed`."""


def _save(cursor: Any, writes: RowWrites, notice: str = "") -> None:
    """:param notice: sent at the commit; empty: none"""
    inserts = [(write, rows) for write, rows in writes if isinstance(write, RowInsert)]
    if inserts:
        sql = _insert_sql(tuple(write for write, _ in inserts), notifies=bool(notice))
        parameters = [_as_json(rows) for _, rows in inserts] + ([CHANNEL, notice] if notice else [])
        cursor.execute(sql, parameters, prepare=True)
    for write, rows in writes:
        if not isinstance(write, RowInsert):
            cursor.executemany(write.sql("%s"), rows)


@lru_cache(PREPARED_STATEMENTS)
def _insert_sql(inserts: tuple[RowInsert, ...], *, notifies: bool) -> str:
    """Return the statement that inserts the rows of several tables. Foreign keys are checked at its end.

    :param notifies: it also sends a notice; its last parameters are the channel and the text
    """
    parts = [
        f"w{number} AS ({each.head} SELECT {_values(each.kinds)} FROM jsonb_array_elements(%s::jsonb) {each.conflict})"
        for number, each in enumerate(inserts)
    ]
    return f"WITH {', '.join(parts)} SELECT {'pg_notify(%s, %s)' if notifies else '1'}"


def _values(kinds: Sequence[str]) -> str:
    """Return the columns ``c0, c1 …`` of a table of JSON arrays."""
    return ", ".join(f"(value ->> {number})::{kind} AS c{number}" for number, kind in enumerate(kinds))


def _as_json(rows: Sequence[tuple[Any, ...]]) -> str:
    """Return the rows as a JSON array of arrays. Of characters that the database would refuse, for example in a provider's
    answer, only these characters are lost.
    """
    found = _dump(rows)
    if "\\u0000" in found or not _is_encodable(found):
        return _dump([tuple(map(replace_unfit, row)) for row in rows])
    return found


def _dump(rows: Sequence[tuple[Any, ...]]) -> str:
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"), default=_hex)


def _hex(value: bytes) -> str:
    # https://www.postgresql.org/docs/current/datatype-binary.html#DATATYPE-BINARY-BYTEA-HEX-FORMAT
    return f"\\x{value.hex()}"


def _is_encodable(text: str) -> bool:
    """Return whether a text has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
