"""What tests ask a running service, and wait for."""

import asyncio
from typing import Any

from click.testing import CliRunner, Result

from router.cli import main
from tests.world.conftest import World


async def until_delivered(world: World, count: int) -> None:
    """As many attempts have been recorded as delivered; waits for what the fakes have already heard."""
    assert world.service is not None
    store = world.service.store
    while sum(each.get("delivered", 0) for each in (await store.status())["deliveries"].values()) < count:
        await store.ready()


async def until_failed(world: World, destination: str, times: int = 1) -> None:
    """So many attempts at a destination have been recorded as to be retried."""
    assert world.service is not None
    store = world.service.store
    while (await store.status())["deliveries"].get(destination, {}).get("retry", 0) < times:
        await store.ready()


async def metric_value(world: World, name: str) -> float:
    """A metric's value."""
    return next(
        float(line.rpartition(" ")[2]) for line in await world.get("/metrics") if line.startswith(name)
    )


SLACK = "slack:C0CRITICAL"


OWN = "AlertRouterDestinationBroken"


async def slack_lane(world: World) -> dict[str, Any]:
    (found,) = [each for each in (await world.get("/status"))["lanes"] if each["destination"] == SLACK]
    return dict(found)


async def run_deliveries_command(world: World, *arguments: str) -> Result:
    """``alert-router deliveries`` of the running service."""
    assert world.service is not None
    return await asyncio.to_thread(
        CliRunner().invoke, main, ["deliveries", "--url", world.service.url, *arguments]
    )
