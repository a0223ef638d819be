"""Thousands of alerts, and the wait until the store has them."""

from collections.abc import Callable
from typing import Any

import aiohttp

from router.model import Millis
from tests.world.conftest import World

# How far the clock moves between two looks: far enough for paces, and not so far that an attempt is cut off.
STEP: Millis = 50


async def until(world: World, true: Callable[[], bool], each: Millis = STEP) -> None:
    """:param each: how far the clock moves between two looks"""
    assert world.service is not None
    while not true():
        world.clock.advance(each)
        await world.service.store.ready()


def alert(name: str, severity: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": severity, **labels},
        "startsAt": "2026-11-23T11:00:00Z",
        **({"endsAt": "2026-11-23T11:30:00Z"} if status == "resolved" else {}),
    }


async def post(world: World, group: str, *alerts: dict[str, Any], **fields: Any) -> None:
    assert world.service is not None
    body = {
        "version": "4", "groupKey": group, "receiver": "r", "groupLabels": {"group": group},
        "externalURL": "http://am.example", "alerts": alerts, **fields,
    }  # fmt: skip
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", json=body) as answer,
    ):
        assert answer.status == 200
