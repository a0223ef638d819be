"""Each message has the right count of ended alerts, however many they are."""

from typing import Any

from router.model import MINUTE
from tests.world.bulk import alert, post, until
from tests.world.conftest import World
from tests.world.fake_discord import URL, FakeDiscord
from tests.world.fake_webhook import FakeWebhook

MANY = 150


def some(status: str, numbers: range) -> list[dict[str, Any]]:
    return [alert("Down", "critical", status, instance=f"web-{number}") for number in numbers]


async def test_a_hundred_and_fifty_ends_are_counted_in_full_everywhere(world: World) -> None:
    async with FakeDiscord() as discord, FakeWebhook() as hook:
        more = f"    - discord: {{webhook_url: '{URL}'}}\n    - webhook: {{url: '{hook.url}'}}\n"

        def with_both(rules: str) -> str:
            rules = rules.replace(
                "receivers:\n", f"  webhook: {{}}\n  discord: {{api_url: '{discord.url}'}}\nreceivers:\n"
            )
            return rules.replace("  oncall:\n", f"  oncall:\n{more}", 1)

        await world.start(with_both)
        await post(world, "g", *some("firing", range(MANY)))
        await until(world, lambda: len(hook.groups) == 1 and len(world.smtp.mails) == 1)
        await until(world, lambda: "150 firing" in _shown(discord) and bool(world.slack.messages))
        world.clock.advance(MINUTE)
        await post(world, "g", *some("resolved", range(147)))
        await until(world, lambda: len(world.smtp.mails) == 2 and len(world.pagerduty.accepted) == 2)
        details = world.pagerduty.accepted[1].payload["custom_details"]
        assert details["counts"] == {"firing": 3, "resolved": 147}
        await until(
            world, lambda: "147 resolved" in _shown(discord) and "147 resolved" in world.slack.only.shown
        )
        await until(world, lambda: len(hook.calls) == 2)
        world.clock.advance(MINUTE)
        await post(world, "g", *some("resolved", range(147, MANY)))
        await until(world, lambda: len(world.smtp.mails) == 3 and len(hook.calls) == 3)
        await until(
            world, lambda: "150 resolved" in _shown(discord) and "150 resolved" in world.slack.only.shown
        )
        await until(world, lambda: any("150 alerts" in reply for reply in world.slack.only.replies))
    assert "150 resolved (97 of them not listed)" in world.smtp.mails[2].text
    assert "150 resolved" in world.smtp.mails[2].html
    body = hook.calls[2].body
    assert (len(body["alerts"]), body["truncatedAlerts"], body["status"]) == (MANY, 0, "resolved")


def _shown(discord: FakeDiscord) -> str:
    return str([message.shown for message in discord.messages.values()])
