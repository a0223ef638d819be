"""Programs behind a webhook: they get every repeat, and a message to them does not count as read by a person."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from router.model import HOUR
from tests.world.bulk import STEP, until
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_smtp import answer
from tests.world.fake_webhook import FakeWebhook


@pytest.fixture
async def hook() -> AsyncIterator[FakeWebhook]:
    async with FakeWebhook() as hook:
        yield hook


def with_archive(url: str, route: str = "receiver: archive, continue: true") -> Callable[[str], str]:
    """Change the rules so that everything also goes to a webhook, by the first route."""

    def change(rules: str) -> str:
        rules = rules.replace(
            "receivers:\n", f"  webhook: {{}}\nreceivers:\n  archive: [{{webhook: {{url: '{url}'}}}}]\n"
        )
        return rules.replace("  routes:\n", f"  routes:\n    - {{{route}}}\n", 1)

    return change


async def test_a_webhook_gets_each_repeat_and_people_do_not(world: World, hook: FakeWebhook) -> None:
    await world.start(with_archive(hook.url))
    for repeats in range(3):
        await world.post("Down", "critical")
        calls = repeats + 1
        await until(world, lambda: len(hook.calls) == calls)  # noqa: B023  (awaited immediately)
        await world.at_rest()
        world.clock.advance(4 * HOUR)
    assert len(world.pagerduty.accepted) == 1


async def test_a_webhook_gets_no_repeat_where_the_route_says_never(world: World, hook: FakeWebhook) -> None:
    await world.start(with_archive(hook.url, "receiver: archive, continue: true, repeat: never"))
    for _ in range(3):
        await world.post("Down", "critical")
        world.clock.advance(4 * HOUR)
    await world.post("Down", "critical", "resolved")
    await until(world, lambda: len(hook.calls) == 2)
    assert [call.body["status"] for call in hook.calls] == ["firing", "resolved"]


@pytest.mark.parametrize("outside", ["hold", "drop"])
async def test_a_webhook_gets_repeats_of_what_it_knows_outside_its_hours(
    world: World, hook: FakeWebhook, outside: str
) -> None:
    route = f"receiver: archive, continue: true, active_time_intervals: [office], outside: {outside}"
    await world.start(with_archive(hook.url, route))
    await world.post("Disk", "warning")
    await until(world, lambda: len(hook.calls) == 1)
    await world.at_rest()
    world.clock.advance(10 * HOUR)
    await world.post("Disk", "warning")
    await until(world, lambda: len(hook.calls) == 2)
    assert len(world.slack.messages) == 1


async def test_a_webhook_gets_repeats_of_what_was_inhibited_since(world: World, hook: FakeWebhook) -> None:
    await world.start(with_archive(hook.url))
    await world.post("Down", "warning")
    await until(world, lambda: len(hook.calls) == 1)
    await world.post("Down", "critical")
    await until(world, lambda: len(hook.calls) == 2)
    await world.at_rest()
    world.clock.advance(4 * HOUR)
    await world.post("Down", "warning")
    await until(world, lambda: len(hook.calls) == 3)


async def test_what_fires_at_one_router_fires_at_the_next_for_days(world: World) -> None:
    folder = world.folder / "next"
    folder.mkdir()
    second = replace(world, folder=folder)
    await second.start(lambda rules: rules.replace("stale_after: 0\n", ""))
    assert second.service is not None
    try:
        only = f"oncall: [{{webhook: {{url: '{second.service.url}/webhook'}}}}]\n  spare:\n"
        await world.start(
            lambda rules: rules.replace("receivers:\n", "  webhook: {}\nreceivers:\n").replace(
                "oncall:\n", only
            )
        )
        for repeats in range(9):
            await world.post("Down", "critical")
            while (await second.ledger())["changes"] != {"fired": 1, "resolved": 0, "repeated": repeats}:
                pass
            await world.at_rest()
            world.clock.advance(4 * HOUR)
        await world.post("Down", "critical", "resolved")
        await until(second, lambda: _open(second) == [False])
    finally:
        await second.stop()


def _open(world: World) -> list[bool]:
    return [each.open for each in world.pagerduty.incidents[KEY]]


async def test_the_digest_has_alerts_that_ended_before_a_notification(
    world: World, hook: FakeWebhook
) -> None:
    world.clock.advance(10 * HOUR)  # night
    await world.start(with_archive(hook.url))
    await world.post("Disk", "warning")
    await until(world, lambda: len(hook.calls) == 1)
    await world.post("Disk", "warning", "resolved")
    await until(world, lambda: len(hook.calls) == 2)
    world.clock.advance(10 * HOUR)
    await world.smtp.until(lambda: bool(world.smtp.mails))
    assert "Disk" in world.smtp.only.text
    assert "ended before anyone was notified" in world.smtp.only.text


async def test_the_digest_leaves_out_alerts_that_were_notified(world: World) -> None:
    await world.start()
    world.smtp.fail(*[answer("451 4.3.0 later")] * 100)
    await world.post("Disk", "warning")
    await until(world, lambda: len(world.slack.messages) == 1)
    await world.post("Disk", "warning", "resolved")
    fates: dict[str, int] = {}
    while fates != {"delivered": 2, "obsolete": 2}:  # at Slack, and by mail
        world.clock.advance(STEP)
        fates = await world.fates()
    world.smtp.recover()
    await world.post("Cert", "info")
    world.clock.advance(20 * HOUR)
    await world.smtp.until(lambda: bool(world.smtp.mails))
    assert "Cert" in world.smtp.only.text
    assert "Disk" not in world.smtp.only.text


async def test_a_digest_asks_only_the_readers_that_it_covers(world: World) -> None:
    world.clock.advance(10 * HOUR)

    def others(rules: str) -> str:
        rules = rules.replace('at: "08:00"}', 'at: "08:00", covers: [team]}')
        rules = rules.replace("receivers:\n", "receivers:\n  others: [{slack: {channel: C0CRITICAL}}]\n")
        return rules.replace("  routes:\n", "  routes:\n    - {receiver: others, continue: true}\n", 1)

    await world.start(others)
    await world.post("Disk", "warning")
    await until(world, lambda: len(world.slack.in_channel("C0CRITICAL")) == 1)
    await world.post("Disk", "warning", "resolved")
    world.clock.advance(10 * HOUR)
    await world.smtp.until(lambda: bool(world.smtp.mails))
    assert "ended before anyone was notified" in world.smtp.only.text
