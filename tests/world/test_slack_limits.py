"""A Slack that accepts one message a second, by the clock that the test moves, and answers 429 to the next."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from router.model import SECOND
from tests.clock import ManualClock
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.slack_limits import posted, to_all

GROUPS = 1_000
log = logging.getLogger(__name__)


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose Slack has limits."""
    clock = ManualClock(MONDAY_NOON)
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(FakeSlack(seconds=lambda: clock.now() / SECOND))
        pagerduty = await stack.enter_async_context(FakePagerDuty())
        smtp = await stack.enter_async_context(FakeSmtp())
        world = World(tmp_path, clock, slack, pagerduty, smtp)
        stack.push_async_callback(world.end)
        yield world


async def test_a_storm_is_in_slack_within_two_minutes_with_hardly_any_429(
    strict: World,
) -> None:
    await strict.start()
    for start in range(0, GROUPS, 50):
        posts = (
            strict.post(f"Storm{number:04}", "warning" if number % 100 else "critical")
            for number in range(start, start + 50)
        )
        assert set(await asyncio.gather(*posts)) == {200}
    await strict.at_rest()
    assert len(strict.pagerduty.accepted) == GROUPS // 100
    for _ in range(120):
        strict.clock.advance(SECOND)
        await strict.at_rest()
    log.info(
        "two minutes on: %d calls of Slack, %d x 429",
        len(strict.slack.calls),
        strict.slack.refused_as_too_fast,
    )
    assert await strict.fates() == {"delivered": 3 * GROUPS // 100 + 2 * (GROUPS - GROUPS // 100)}
    assert strict.slack.refused_as_too_fast <= 10


async def test_a_hundred_channels_together_keep_the_pace_of_the_workspace(world: World) -> None:
    await world.start(to_all(world, [f"C{number:04}" for number in range(100)]), drain=0)
    await world.post("Down", "critical")
    await posted(world, 10)  # the burst
    for second in range(1, 23):
        world.clock.advance(SECOND)
        await posted(world, 10 + 4 * second)
    world.clock.advance(SECOND)
    await posted(world, 100)
    assert len(world.slack.messages) == 100


async def test_the_replies_of_long_messages_count_in_the_pace_of_the_workspace(world: World) -> None:
    channels = [f"C{number:04}" for number in range(5)]
    await world.start(to_all(world, channels), drain=0)
    await post_long(world, "critical")
    await world.slack.until(lambda: len(world.slack.calls) >= 10)
    await at_rest_but_waiting(world)
    counts = [len(world.slack.calls)]
    while (await world.fates()).get("pending"):
        world.clock.advance(SECOND)
        await at_rest_but_waiting(world)
        counts.append(len(world.slack.calls))
    messages = world.slack.messages.values()
    assert len(messages) == len(channels)
    assert counts[-1] == sum(1 + len(message.thread) for message in messages) > 4 * len(channels)
    assert all(count <= 10 + 4 * seconds for seconds, count in enumerate(counts))


async def test_a_critical_goes_between_the_replies_of_a_long_message(world: World) -> None:
    await world.start(lambda rules: rules.replace("C0WARNINGS", "C0CRITICAL"), drain=0)
    await post_long(world, "warning")
    world.clock.advance(2 * SECOND)  # for its inhibitor
    await world.slack.until(lambda: len(world.slack.calls) >= 3)  # the burst
    await posted(world, 3)
    await world.post("Urgent", "critical")
    for _ in range(2):
        await at_rest_but_waiting(world)
        world.clock.advance(SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    long, urgent = world.slack.messages.values()
    assert "Urgent" in urgent.shown
    assert len(long.thread) <= 3
    before = len(long.thread)
    while (await world.fates()).get("pending"):
        world.clock.advance(SECOND)
        await at_rest_but_waiting(world)
    assert len(long.thread) > before


async def post_long(world: World, severity: str) -> None:
    """Post a group that is too long for one message."""
    assert world.service is not None
    alerts = [
        {"status": "firing", "labels": {"alertname": "Down", "severity": severity, "instance": f"{n}"},
         "annotations": {"description": f"{n} " * 1_250}} for n in range(24)
    ]  # fmt: skip
    body = {"version": "4", "groupKey": "g", "receiver": "r", "status": "firing", "alerts": alerts}
    async with aiohttp.ClientSession() as session:
        await session.post(f"{world.service.url}/webhook", json=body)


async def at_rest_but_waiting(world: World) -> None:
    """Wait until all that can be sent at this time is sent."""
    assert world.service is not None
    before = -1
    while before != len(world.slack.calls):
        before = len(world.slack.calls)
        for _ in range(5):
            await world.service.store.ready()


async def test_a_limit_between_an_edit_and_its_reply_is_no_loop(strict: World) -> None:
    await strict.start()
    for name in "ABCDE":
        await strict.post(name, "critical")
    for _ in range(10):
        await strict.at_rest()
        strict.clock.advance(SECOND)
    for name in "ABCDE":
        await strict.post(name, "critical", "resolved")
    for _ in range(20):
        await strict.at_rest()
        strict.clock.advance(SECOND)
    assert await strict.fates() == {"delivered": 30}
    assert [len(posted.replies) for posted in strict.slack.messages.values()] == [1] * 5
    assert strict.slack.refused_as_too_fast <= 10
