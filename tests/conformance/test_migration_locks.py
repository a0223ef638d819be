"""A migration that meets a table in use: other replicas work on, it says who uses the table, and it succeeds later."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from router import database_wait
from router.database_wait import DatabaseWait
from router.metrics import Metrics
from router.store import Store
from router.store.opening import newest_revision
from router.web import make_runner, make_waiting_app
from tests.conformance.test_rolling_versions import Newer
from tests.postgresql import Server


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Newer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_wait, "_AGAIN_SECONDS", 0)
        version = Newer(tmp_path, patch)
        yield version
        version.stop()


async def test_others_work_while_a_migration_waits_for_a_table(newer: Newer, postgresql: Server) -> None:
    """A dump holds a lock of each table for as long as it runs."""
    with postgresql.database() as url, psycopg.connect(f"{url}&application_name=pg_dump") as dump:
        other = await Store.open(url)
        dump.execute("SELECT count(*) FROM deliveries")
        newer.add("9001", since=newest_revision(), table="deliveries")
        attempts: asyncio.Queue[None] = asyncio.Queue()
        wait = DatabaseWait(
            ("127.0.0.1", 0),
            lambda: make_runner(make_waiting_app(), Metrics(enabled=False)),
            lambda: attempts.put_nowait(None),
        )
        with capture_logs() as logs:
            opening = asyncio.create_task(wait.open(lambda: Store.open(url)))
            while attempts.qsize() < 2:
                await other.quarantine(b"x", "default", "r", 1)
                await other.pages.status()
            assert not opening.done()
            dump.rollback()
            store = await opening
        waits = [
            each["reason"] for each in logs if each["event"].startswith("the start waits for the database")
        ]
        assert len(waits) == 1
        assert f"its tables are used by the processes {dump.info.backend_pid} (pg_dump)" in waits[0]
        assert newest_revision() == "9001"
        assert postgresql.execute("SELECT version_num FROM alembic_version", dump.info.dbname) == [("9001",)]
        await wait.close()
        await store.close()
        await other.close()
