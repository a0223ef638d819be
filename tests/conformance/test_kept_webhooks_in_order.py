"""Small webhooks that were kept are decided in the order of their arrival, whatever fails meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.core.accept import decide_whole
from router.metrics import Metrics
from router.model import SECOND
from router.parse import parse_webhook
from router.store import Store
from router.undecided import Undecided
from tests.clock import ManualClock
from tests.database import busy_writer, queued_jobs
from tests.postgresql import Server
from tests.quarantine import quarantined
from tests.tcp_proxy import proxied
from tests.unit.core.world import NOON, POLICY
from tests.waiting import until
from tests.world.bodies import alert, webhook


async def keep(store: Store, *sizes: int) -> list[str]:
    """Keep webhooks with so many alerts, each of a source of its own. Return the sources."""
    sources = [f"source{number}" for number in range(len(sizes))]
    for source, size in zip(sources, sizes, strict=True):
        alerts = (alert(labels={"alertname": source, "n": str(number)}) for number in range(size))
        body = json.dumps(webhook(*alerts)).encode()
        await store.undecided.keep(parse_webhook(body, NOON, "am"), source, body, NOON)
    return sources


@asynccontextmanager
async def deciding(store: Store, clock: ManualClock) -> AsyncIterator[list[str]]:
    """Decide what is kept, and yield the sources in the order in which it is decided.

    They are told a moment after the database knows, so wait for their number.
    """
    order: list[str] = []
    undecided = Undecided(
        store, clock, Metrics(), lambda: POLICY, lambda _: None, lambda source, _: order.append(source)
    )
    task = asyncio.create_task(undecided.serve())
    yield order
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    undecided.close()


async def all_decided(
    store: Store, clock: ManualClock, order: list[str], count: int, step: int = SECOND
) -> None:
    async def are_decided() -> bool:
        clock.advance(step)
        return (await store.undecided.count()).alerts == 0 and len(order) >= count

    await until(are_decided, "all is decided")


@pytest.mark.parametrize("sizes", [(200, 200, 1), (100, 1), (1,) * 300], ids=len)
async def test_a_batch_that_is_lost_is_not_overtaken(postgresql: Server, sizes: tuple[int, ...]) -> None:
    """The first batch also has a job for large webhooks. So not even those that would have room in one batch are in it."""
    clock, name = ManualClock(NOON), postgresql.create()
    with proxied(postgresql.socket) as proxy:
        store = await Store.open(postgresql.through(proxy, name))
        sources = await keep(store, *sizes)
        async with busy_writer(store):
            commits = [None, "before"]  # the busy one's, and the one that is lost
            proxy.on_commit = lambda _number: commits.pop(0) if commits else None
            begun = deciding(store, clock)
            order = await begun.__aenter__()

            async def are_queued() -> bool:
                return queued_jobs(store) >= 2

            await until(are_queued, "the first webhooks wait for the writer")
        await all_decided(store, clock, order, len(sources))
        await begun.__aexit__(None, None, None)
        assert order == sources
        assert not commits
        await store.close()
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_one_that_cannot_be_decided_holds_up_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(NOON)
    sources = await keep(store, 1, 1, 1, 1)

    def raises(accepting: Any) -> Any:
        if accepting.source == sources[1]:
            raise KeyError("a bug")
        return decide_whole(accepting)

    monkeypatch.setattr("router.core.large_webhooks.decide_whole", raises)
    async with deciding(store, clock) as order:
        await all_decided(store, clock, order, len(sources) - 1, step=0)
    assert order == [sources[0], *sources[2:]]
    assert [each.source for each in await quarantined(store)] == [sources[1]]
