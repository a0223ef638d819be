"""However often an alert fires, and in however many groups: each end is sent, and what has ended is closed."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from router.model import HOUR, MINUTE
from tests.world.bulk import STEP, alert, post, until
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY, http
from tests.world.fake_webhook import FakeWebhook


@pytest.fixture
async def hook() -> AsyncIterator[FakeWebhook]:
    async with FakeWebhook() as hook:
        yield hook


async def empty_conversations(world: World) -> int:
    assert world.service is not None
    return (await world.service.store.integrity(world.clock.now())).empty.count


async def settled(world: World) -> None:
    """Nothing is left to send anywhere."""
    fates = {"pending": 1}
    while fates.keys() & {"pending", "held", "inhibited"}:
        world.clock.advance(STEP)
        fates = await world.fates()


def incidents(world: World) -> list[bool]:
    """Return for each incident whether it is still open."""
    return [each.open for each in world.pagerduty.incidents[KEY]]


def everything_and_pages(hook: FakeWebhook) -> Callable[[str], str]:
    def change(rules: str) -> str:
        rules = rules.replace(
            "receivers:\n",
            f"  webhook: {{}}\nreceivers:\n  everything: [{{webhook: {{url: '{hook.url}'}}}}]\n",
        )
        return rules.replace("  routes:\n", "  routes:\n    - {receiver: everything, continue: true}\n", 1)

    return change


async def test_an_alert_that_flaps_twenty_times_ends_everywhere(world: World, hook: FakeWebhook) -> None:
    await world.start(everything_and_pages(hook))
    sent = 0
    for _ in range(20):
        for status in ("firing", "resolved"):
            await post(world, "g", alert("Steady", "warning"), alert("Flaps", "critical", status))
            sent += 1
            pages = sent
            await until(world, lambda: len(world.pagerduty.accepted) == pages)  # noqa: B023  (awaited immediately)
            await until(world, lambda: _states(hook) == {"Steady": "firing", "Flaps": status})  # noqa: B023
            world.clock.advance(10 * MINUTE)
    assert incidents(world) == [False] * 20
    by_destination = (await world.ledger())["by_destination"]
    ends = [
        fates.get("obsolete", 0)
        for key, fates in by_destination.items()
        if key.startswith(("pager", "webhook"))
    ]
    assert ends == [0, 0]


def _states(hook: FakeWebhook) -> dict[str, str]:
    """Return the state of each alert by name, as the webhook receiver knows it."""
    return {
        each["labels"]["alertname"]: each["status"]
        for group in hook.groups.values()
        for each in group["alerts"]
    }


async def test_an_alert_of_103_groups_ends_in_all_of_them(world: World) -> None:
    await world.start(
        lambda rules: rules.replace(
            "    - slack: {channel: C0CRITICAL}\n    - email: {to: [oncall@example.com]}\n", ""
        )
    )
    for number in range(103):
        await post(world, f"g{number}", alert("Down", "critical"))
    await until(world, lambda: len(world.pagerduty.accepted) == 103)
    world.clock.advance(10 * MINUTE)
    await post(world, "g7", alert("Down", "critical", "resolved"))
    await until(world, lambda: len(world.pagerduty.accepted) == 206)
    assert incidents(world) == [False] * 103


async def test_conversations_whose_alerts_ended_while_held_are_closed(world: World) -> None:
    world.clock.advance(10 * HOUR)  # night
    await world.start()
    for number in range(20):
        await world.post(f"Disk{number}", "warning")
    for number in range(20):
        await world.post(f"Disk{number}", "warning", "resolved")
    assert await empty_conversations(world) == 0


async def test_a_conversation_that_a_reload_dropped_is_closed_with_its_alert(world: World) -> None:
    world.clock.advance(10 * HOUR)
    await world.start()
    await world.post("Disk", "warning")
    status, _ = await world.reload(lambda rules: rules.replace("    - email: {to: [team@example.com]}\n", ""))
    assert status == 200
    await world.post("Disk", "warning", "resolved")
    assert await empty_conversations(world) == 0


async def test_a_conversation_whose_inhibited_alert_ended_is_closed(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.post("Down", "warning")
    await world.post("Down", "warning", "resolved")
    await until(world, lambda: len(world.pagerduty.accepted) == 1)
    await world.post("Down", "critical", "resolved")
    await settled(world)
    assert await empty_conversations(world) == 0


async def test_a_conversation_whose_dead_letters_are_discarded_is_closed(world: World) -> None:
    await world.start()
    world.pagerduty.fail(*[http(400)] * 100)
    await world.post("Down", "critical")
    assert world.service is not None
    letters: list[dict[str, Any]] = []
    while not letters:
        world.clock.advance(STEP)
        letters = (await world.service.store.pages.dead_letters(limit=500)).rows
    await world.post("Down", "critical", "resolved")
    await settled(world)
    assert await empty_conversations(world) == 0  # it may be tried again
    assert await world.service.store.discard(letters[0]["id"], world.clock.now())
    assert await empty_conversations(world) == 0
