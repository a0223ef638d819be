"""Bytes on disk per webhook after its three deliveries."""

import asyncio
import sqlite3
from pathlib import Path

from bench import bodies, rules, sinks, wire
from bench.ingest import CONNECTIONS
from bench.results import ROUTER, at_most
from bench.run import Bench

_SETTLE_SECONDS = 1.0


async def disk(bench: Bench) -> None:
    measure = bench.measure(
        "disk", "bytes on disk of a webhook of 1.4 KB, 3 destinations", "bytes", at_most(3_000)
    )
    empty, used = bench.folder / "empty.db", bench.folder / "used.db"
    count = bench.scale.on_disk
    async with sinks.answering() as sink:
        policy = rules.to_three_webhooks(sink.url)
        async with bench.router(policy, database=empty):
            await asyncio.sleep(_SETTLE_SECONDS)
        async with bench.router(policy, database=used) as server:
            load = wire.Load(server.port, bodies.webhooks(bench.take(count)))
            await load.closed(CONNECTIONS, bench.scale.burst_limit)
            complete = await sink.wait(count, bench.scale.burst_limit, requests=3 * count)
            await asyncio.sleep(_SETTLE_SECONDS)
    measure.add(ROUTER, (_bytes(used) - _bytes(empty)) / len(load.answered))
    if not complete:
        measure.note(f"cut: {sink.requests:,} of {3 * count:,} deliveries were made")
    bench.notes["Where the bytes of a webhook are"] = _tables(used, len(load.answered))


def _bytes(database: Path) -> int:
    """Return the bytes after a checkpoint, without the WAL and without free pages."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    connection.close()
    return int(size * (pages - free))


def _tables(database: Path, webhooks: int) -> str:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 15"
        ).fetchall()
    except sqlite3.OperationalError as error:
        return f"SQLite can't say: {error}"
    finally:
        connection.close()
    return "| table or index | bytes a webhook |\n|---|---:|\n" + "\n".join(
        f"| `{name}` | {size / webhooks:,.0f} |" for name, size in rows
    )
