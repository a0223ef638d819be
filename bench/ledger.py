"""Builds a ledger of very many rows by copying, inside the database, the rows of a small one that the router wrote."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

WEBHOOKS = 25
"""The webhooks to copy, with 100 alerts each."""

# The tables that grow with each webhook of the same alerts. The copies refer to the same alerts and members.
TABLES = ("changes", "fates")
_TIMES = ("at", "decided_at", "updated_at", "started_at", "finished_at")
_MINUTES_APART = 10


async def multiply(database: Path, rows: int) -> int:
    """Copy the rows of the ledger until there are ``rows``. :returns: the number of rows"""
    return await asyncio.to_thread(_multiply, database, lambda there: rows // sum(there.values()), TABLES)


async def multiply_changes(database: Path, changes: int, more: tuple[str, ...] = ()) -> int:
    """Copy the rows of the ledger, and of other tables, until there are so many changes. :returns: their number"""
    tables = (*TABLES, *more)
    await asyncio.to_thread(_multiply, database, lambda there: changes // there["changes"], tables)
    return changes


def _multiply(database: Path, wanted: Callable[[dict[str, int]], int], tables: tuple[str, ...]) -> int:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=OFF")  # the file is deleted after the run, so it needs no journal
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    connection.execute("BEGIN IMMEDIATE")
    copies = max(0, wanted({table: _count(connection, table) for table in tables}) - 1)
    for table in tables:
        _copy(connection, table, copies)
    total = sum(_count(connection, table) for table in tables)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return total


def _copy(connection: sqlite3.Connection, table: str, copies: int) -> None:
    """Copy with negative ids: copies are older than existing rows, and the router never assigns these ids."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    # A copy shifts the ids of copied tables, in each table by the same distance.
    moving = {"id", *(f"{each.removesuffix('s')}_id" for each in TABLES)}
    replaced = {"fate": "'delivered'"}  # old changes have been delivered
    # Each copy is some minutes older than the one before, so that lists by time have as much to do as after real weeks.
    replaced |= {name: f"{name} - k * {_MINUTES_APART * 60_000}" for name in _TIMES}
    chosen = ", ".join(
        f"{name} - k * 1000000" if name in moving else replaced.get(name, name) for name in columns
    )
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
        (table,),
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    connection.execute(f"CREATE TEMP TABLE copied_{table} AS SELECT * FROM {table}")
    connection.execute(
        f"WITH RECURSIVE copy(k) AS (SELECT {copies} UNION ALL SELECT k - 1 FROM copy WHERE k > 1) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM copy CROSS JOIN copied_{table} "
        f"WHERE {copies} > 0"
    )
    for _, statement in indexes:
        connection.execute(statement)


def _count(connection: sqlite3.Connection, table: str) -> int:
    count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return count
