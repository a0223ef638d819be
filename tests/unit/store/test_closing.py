"""A store is closed in time, even if its writer is stuck."""

import asyncio
import threading
from pathlib import Path

from router.store import Store
from tests.database import on_writer


async def test_a_stuck_writer_is_abandoned(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/router.db")
    stuck = threading.Event()

    stuck_in = asyncio.create_task(on_writer(store, lambda _: stuck.wait()))
    await asyncio.sleep(0)
    await store.close(0.05)
    assert not stuck_in.done()
    stuck.set()
    stuck_in.cancel()


async def test_queued_jobs_are_written_before_a_close(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/router.db")
    writes = [asyncio.create_task(store.quarantine(b"x", "am", "odd", number)) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert len(set(await asyncio.gather(*writes))) == 50
