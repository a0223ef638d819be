"""Starts tests of receivers, and waits for their results."""

from typing import Any

import aiohttp

from router.model import SECOND, Millis
from tests.world.conftest import World

Report = dict[str, Any]


async def post_test(world: World, receiver: str, **more: Any) -> tuple[int, Report]:
    """Ask for a test. Return the status and the body of the answer."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/api/v1/tests", json={"receiver": receiver, **more}) as answer,
    ):
        return answer.status, await answer.json()


async def begin_test(world: World, receiver: str, **more: Any) -> str:
    """Start a test and return its id."""
    status, report = await post_test(world, receiver, **more)
    assert status == 200, report
    return str(report["id"])


async def read_test(world: World, test: str) -> Report:
    report: Report = await world.get(f"/api/v1/tests/{test}")
    return report


async def finish(world: World, test: str, step: Millis = SECOND) -> Report:
    """Move the clock until a test has finished. :param step: how far at a time"""
    while (report := await read_test(world, test))["finished_at"] is None:
        await world.at_rest()
        if (await read_test(world, test))["finished_at"] is None:
            world.clock.advance(step)
    return report


async def until_answered(world: World, test: str, destination: str, state: str = "delivered") -> Report:
    """Wait, without moving the clock, until a destination has answered the message."""
    assert world.service is not None
    while answers(report := await read_test(world, test))[destination][0] != state:
        await world.service.store.ready()
    return report


def answers(report: Report) -> dict[str, tuple[str, str]]:
    """Return the states of the message and of its end, by destination."""
    return {
        each["destination"]: (each["firing"]["state"], each["end"]["state"])
        for each in report["destinations"]
    }


def words(report: Report, destination: str) -> tuple[str, str]:
    """Return the words of a destination about the message and about its end."""
    (found,) = [each for each in report["destinations"] if each["destination"] == destination]
    return found["firing"]["words"], found["end"]["words"]
