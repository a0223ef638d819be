"""A disk that doesn't answer: Alertmanager gets its answer all the same."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from router.store import Store
from tests.database import on_writer
from tests.unit.web.harness import SLACK, Serve, WebHarness
from tests.waiting import until
from tests.world.bodies import alert, webhook


@asynccontextmanager
async def hanging(store: Store) -> AsyncIterator[None]:
    """The writer's thread is where it would be while a disk doesn't answer."""
    release = threading.Event()

    def work(_: sa.Connection) -> None:
        release.wait()

    writing = asyncio.create_task(on_writer(store, work))
    try:
        yield
    finally:
        release.set()
        await writing


async def test_a_hanging_disk_gives_503_and_a_late_write_still_counts(
    harness: WebHarness, serve: Serve, store: Store
) -> None:
    harness.keep_seconds = 0.05
    client = await serve(harness)
    async with hanging(store):
        for body in (webhook(alert()), {"alerts": 7}):
            response = await client.post("/webhook", json=body)
            assert (response.status, response.headers["Retry-After"]) == (503, "10")
            assert (await response.json())["reason"] == "nothing could be written within 0.05 s"
        assert store.trouble == "nothing could be written within 0.05 s"
        assert harness.woken == set()

    async def woken() -> bool:
        return harness.woken == {SLACK.key} and store.trouble is None

    await until(woken, "the webhook is stored and the lanes are woken")
    assert store.trouble is None
    harness.keep_seconds = 8
    assert (await client.post("/webhook", json=webhook(alert()))).status == 200


async def test_a_probe_is_answered_though_the_disk_is_not(
    harness: WebHarness, serve: Serve, store: Store
) -> None:
    harness.keep_seconds = 0.05
    client = await serve(harness)
    async with hanging(store):
        response = await client.get("/readyz", headers={"Accept": "text/plain"})
        assert response.status == 503
        assert await response.text() == "not ready: nothing could be written within 0.05 s\n"
