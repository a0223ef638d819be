"""The real Alertmanager repeats a Watchdog by the route of the docs; it dies, and comes back."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from router.model import MINUTE
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Alertmanager, needs_alertmanager, until
from tests.clock import ManualClock
from tests.unit.docs.pages import section
from tests.world.conftest import MONDAY_NOON, World
from tests.world.heartbeats import WATCHERS, said, watched, with_heartbeat
from tests.world.reconciling import count

pytestmark = needs_alertmanager
# The route of the docs, thirty times as fast.
_FASTER = {"0s": "0s", "1m": "2s", "30s": "1s"}


def route_of_the_docs() -> dict[str, Any]:
    """Return the route of Alertmanager that docs/heartbeats.md recommends, with shorter times."""
    blocks = section("docs/heartbeats.md", "A heartbeat").split("```yaml\n")[1:]
    text = next(block.split("```")[0] for block in blocks if block.startswith("route:"))
    (route,) = YAML(typ="safe").load(text)["route"]["routes"]
    return {
        key: _FASTER.get(value, value) if isinstance(value, str) else value for key, value in route.items()
    }


async def use_route(alertmanager: Alertmanager) -> None:
    config = json.loads(alertmanager.config.read_text())
    config["route"]["routes"] = [route_of_the_docs()]
    alertmanager.config.write_text(json.dumps(config))
    await alertmanager.reload()


@pytest.fixture
async def world(providers: Providers, folder: Path) -> AsyncIterator[World]:
    world = World(folder, ManualClock(MONDAY_NOON), providers.slack, providers.pagerduty, providers.mail)
    world.slack.channels[WATCHERS] = "watchers"
    await world.start(with_heartbeat())
    yield world
    await world.end()


async def beats(world: World, more: int) -> None:
    """Wait until so many more webhooks were accepted."""
    name = 'alert_router_webhooks_total{outcome="accepted",source="default"}'
    before = await count(world, name)

    async def come() -> bool:
        return await count(world, name) >= before + more

    await until(come, f"{more} more webhooks")


async def test_the_route_of_the_docs_keeps_a_heartbeat_alive(world: World, folder: Path) -> None:
    assert world.service is not None
    alertmanager = Alertmanager(folder, f"{world.service.url}/webhook")
    async with alertmanager:
        await use_route(alertmanager)
        await alertmanager.fire(alertname="Watchdog", severity="none")
        for _ in range(3):
            await beats(world, 2)
            world.clock.advance(9 * MINUTE)
        await beats(world, 1)
        assert said(world) == []
        assert (await watched(world))["default"]["state"] == "in time"
    world.clock.advance(10 * MINUTE)
    await world.slack.until(lambda: len(said(world)) == 1)
    assert "Heartbeat watchdog of source default has been silent since" in said(world)[0]
    async with alertmanager:
        await use_route(alertmanager)
        await alertmanager.fire(alertname="Watchdog", severity="none")
        (message,) = world.slack.in_channel(WATCHERS)
        await world.slack.until(lambda: any("is back" in each for each in [message.shown, *message.replies]))
    assert (await world.ledger())["imbalance"] == 0
