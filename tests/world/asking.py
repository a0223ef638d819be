"""What tests ask of a running service, and what they wait for."""

import asyncio
from collections.abc import Callable
from typing import Any

from click.testing import CliRunner, Result

from router.cli import main
from tests.waiting import guarded
from tests.world.conftest import World

Counts = dict[str, dict[str, int]]
"""The deliveries by destination and outcome."""


async def until_delivered(world: World, count: int) -> None:
    """Wait until so many attempts are recorded as delivered."""
    await _until_counted(
        world, lambda found: sum(each.get("delivered", 0) for each in found.values()) >= count
    )


async def until_failed(world: World, destination: str, times: int = 1, outcome: str = "retry") -> None:
    """Wait until so many attempts at a destination are recorded as failed. :param outcome: retry or broken"""
    await _until_counted(world, lambda found: found.get(destination, {}).get(outcome, 0) >= times)


async def _until_counted(world: World, are_enough: Callable[[Counts], bool]) -> None:
    assert world.service is not None
    store, found = world.service.store, Counts()
    async with guarded(lambda: f"deliveries: {found}"):
        while not are_enough(found := (await store.pages.status())["deliveries"]):
            await store.ready()


async def metric_value(world: World, name: str) -> float:
    """Return the value of a metric. :param name: how its line begins"""
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
