"""Webhooks that are kept and answered first, with two replicas: whoever keeps them, the holder of the background decides them."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from router.app import Service
from router.model import SECOND, Webhook
from router.undecided import MAX_PIECE_ALERTS
from tests.postgresql import Server
from tests.waiting import until
from tests.world.bodies import alert, webhook
from tests.world.conftest import World
from tests.world.pairs import Pair, pair_of

LARGE = MAX_PIECE_ALERTS + 1
PREFIX = "kept by one of two: "
"""Of the group keys."""


@pytest.fixture
async def pair(world: World, postgresql: Server) -> AsyncIterator[Pair]:
    async with pair_of(world, postgresql) as pair:
        yield pair


async def post_large(service: Service, key: str) -> None:
    """Post a group of more alerts than one unit of work decides."""
    labels = ({"alertname": key, "n": str(number), "severity": "info"} for number in range(LARGE))
    body = {**webhook(*(alert(labels=each) for each in labels)), "groupKey": PREFIX + key}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.url}/webhook", data=json.dumps(body)) as answer,
    ):
        assert answer.status == 200


async def until_parsed(pair: Pair, count: int) -> None:
    """Wait until so many large webhooks are in memory, parsed."""

    async def are_parsed() -> bool:
        for service in pair.both:
            await service.store.ready()  # a writer knows its last batch until the next one
        gc.collect()
        # Other tests may have left such webhooks in memory, for example in the traceback of an error.
        webhooks = [each for each in gc.get_objects() if isinstance(each, Webhook)]
        return sum(each.group_key.startswith(PREFIX) for each in webhooks) == count

    await until(are_parsed, f"{count} parsed webhooks are in memory")


async def all_decided(pair: Pair, fired: int) -> None:
    async def none_waits() -> bool:
        pair.world.clock.advance(SECOND)
        return (await pair.a.store.undecided.count()).alerts == 0

    await until(none_waits, "all is decided", pause=0.05)
    assert (await pair.a.store.pages.status())["changes"]["fired"] == fired


class Gate:
    """Holds up the holder before it decides, until it is opened."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self._opened = asyncio.Event(), asyncio.Event()
        release = service.store.presence.release

        async def waits(*given: Any) -> Any:
            self.reached.set()
            await self._opened.wait()
            return await release(*given)

        monkeypatch.setattr(service.store.presence, "release", waits)

    async def closed(self, pair: Pair) -> None:
        """Wait until the holder stands before it."""

        async def is_reached() -> bool:
            pair.world.clock.advance(SECOND)
            return self.reached.is_set()

        await until(is_reached, "the holder is held up", pause=0.05)

    def open(self) -> None:
        self._opened.set()


async def test_large_webhooks_of_both_replicas_are_decided(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(pair.holder, monkeypatch)
    await gate.closed(pair)
    for number in range(2):
        for service in (pair.other, pair.holder):
            await post_large(service, f"{service.membership.name}{number}")
    gate.open()
    await all_decided(pair, 4 * LARGE)
    await until_parsed(pair, 0)


async def test_a_replica_that_decides_nothing_keeps_no_parsed_body(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(pair.holder, monkeypatch)
    await gate.closed(pair)
    await post_large(pair.other, "many")
    await until_parsed(pair, 0)
    await post_large(pair.holder, "more")
    await until_parsed(pair, 1)
    await pair.holder.background.end()
    await until_parsed(pair, 0)
    await post_large(pair.holder, "most")
    await until_parsed(pair, 0)
    gate.open()
    await pair.holder.background.begin()
    await all_decided(pair, 3 * LARGE)
