"""A Slack that takes one message a second, by the clock that the test moves, and says 429 to the next."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from router.model import SECOND
from tests.clock import ManualClock
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp

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


async def test_two_minutes_into_a_storm_slack_was_told_of_everything_and_hardly_ever_said_429(
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
