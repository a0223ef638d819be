"""Slack's incoming webhooks over real sockets: a message for each change, beside a bot or without one."""

import re

from router.model import SECOND
from tests.world.conftest import World
from tests.world.fake_slack_webhook import FakeSlackWebhook, Want
from tests.world.test_storm import settled, warnings


def with_webhook(rules: str, slack: FakeSlackWebhook) -> str:
    """The rules, with an incoming webhook for warnings."""
    more = f"    - slack: {{webhook_url: '{slack.url}', name: team}}\n"
    return rules.replace("    - slack: {channel: C0WARNINGS", more + "    - slack: {channel: C0WARNINGS")


def without_bot(rules: str) -> str:
    """The rules without the section of Slack, and without the destinations that need it."""
    rules = re.sub(r"    - slack: \{channel: .*\n", "", rules)
    return re.sub(r"  slack: \{token: .*\n", "", rules)


async def test_a_group_fires_changes_and_resolves_in_messages_of_their_own(world: World) -> None:
    async with FakeSlackWebhook() as slack:
        await world.start(lambda rules: without_bot(with_webhook(rules, slack)))
        for count, (instance, status) in enumerate(
            (("n1", "firing"), ("n2", "firing"), ("n2", "resolved"), ("n1", "resolved")), 1
        ):
            assert await world.post("Down", "warning", status, instance=instance) == 200
            world.clock.advance(10 * SECOND)
            await slack.until(lambda count=count: len(slack.messages) == count)  # type: ignore[misc]  # (a default)
        slack.expect(
            Want("C0WEBHOOK", ("🟠 Down on n1", "1 firing"), "#e8912d"),
            Want("C0WEBHOOK", ("🟠 new: n2", "2 firing"), "#e8912d"),
            Want("C0WEBHOOK", ("✅ resolved: n2", "1 firing · 1 resolved"), "#e8912d"),
            Want("C0WEBHOOK", ("✅ Resolved: Down", "2 resolved"), "#2eb67d"),
        )
        assert not world.slack.calls


async def test_a_bot_and_a_webhook_send_side_by_side(world: World) -> None:
    async with FakeSlackWebhook() as slack:
        await world.start(lambda rules: with_webhook(rules, slack))
        await world.post("Down", "warning", instance="n1")
        world.clock.advance(10 * SECOND)
        await slack.until(lambda: len(slack.messages) == 1)
        await world.slack.until(lambda: len(world.slack.messages) == 1)


async def test_a_storm_names_every_group_in_few_messages(world: World) -> None:
    async with FakeSlackWebhook(seconds=lambda: world.clock.now() / SECOND) as slack:
        await world.start(lambda rules: with_webhook(rules, slack))
        await warnings(world, 0, 130)
        await settled(world)
        text = "\n".join(each.read for each in slack.messages)
        assert "Alert storm: " in text
        assert {f"Down{number}" for number in range(130)} <= set(re.findall(r"Down\d+", text))
        assert len(slack.messages) < 20
