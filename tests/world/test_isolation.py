"""A destination that hangs delays no other."""

from collections.abc import Callable
from functools import partial

import pytest

from router.model import MINUTE
from tests.world import fake_pagerduty, fake_slack, fake_smtp
from tests.world.asking import metric_value, until_delivered
from tests.world.conftest import World
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp

LATENCY = "alert_router_accept_to_delivered_seconds"
# How many alerts a provider shows.
SHOWN: dict[str, Callable[[World], int]] = {
    "slack": lambda world: len(world.slack.messages),
    "pagerduty": lambda world: len(world.pagerduty.accepted),
    "email": lambda world: len(world.smtp.mails),
}


ALERTS = 15


def hang(world: World, which: str) -> None:
    """Every attempt hangs from now on, until the provider recovers."""
    match which:
        case "slack":
            world.slack.fail(*[fake_slack.HANG] * 1_000)
        case "pagerduty":
            world.pagerduty.fail(*[fake_pagerduty.HANG] * 1_000)
        case "email":
            world.smtp.fail(*[fake_smtp.HANG] * 1_000)


def silent(rules: str) -> str:
    """No self-alert is sent, because the test counts messages."""
    for channel in SHOWN:
        rules = rules.replace(f"  {channel}: {{", f"  {channel}: {{alert_after: 0, ", 1)
    return rules


@pytest.mark.parametrize("stuck", SHOWN)
async def test_a_destination_that_hangs_for_half_an_hour_delays_no_other(world: World, stuck: str) -> None:
    """An alert every other minute is sent elsewhere at the time of its acceptance, by the clock that the test moves."""
    providers: dict[str, FakeSlack | FakePagerDuty | FakeSmtp] = {
        "slack": world.slack, "pagerduty": world.pagerduty, "email": world.smtp,
    }  # fmt: skip
    await world.start(silent)
    hang(world, stuck)
    for count in range(1, ALERTS + 1):
        assert await world.post(f"Down-{count}", "critical") == 200
        await until_delivered(world, 2 * count)  # the clock stands still
        providers[stuck].release()  # this attempt is given up; the next one hangs as well
        world.clock.advance(2 * MINUTE)
    for which in SHOWN.keys() - {stuck}:
        assert SHOWN[which](world) == ALERTS
        assert await metric_value(world, f'{LATENCY}_count{{channel="{which}"') == ALERTS
        assert await metric_value(world, f'{LATENCY}_sum{{channel="{which}"') == 0
    assert SHOWN[stuck](world) == 0

    def at_least(count: int) -> bool:
        return SHOWN[stuck](world) >= count

    providers[stuck].recover()
    for count in range(1, ALERTS + 1):
        await world.at_rest()  # what failed waits for its next attempt
        world.clock.advance(10 * MINUTE)  # beyond any backoff
        await providers[stuck].until(partial(at_least, count))
    await until_delivered(world, 3 * ALERTS)
    assert await world.fates() == {"delivered": 3 * ALERTS}
    assert SHOWN[stuck](world) == ALERTS
    assert await metric_value(world, f'{LATENCY}_sum{{channel="{stuck}"') > ALERTS * 60
