"""Telegram in the whole service: an alert fires, its group changes, and all of it ends."""

import re
from collections.abc import Callable

from tests.world.bulk import alert, post, until
from tests.world.conftest import World
from tests.world.fake_telegram import CHAT, TOKEN, FakeTelegram, Want
from tests.world.test_storm import hosts, settled


def with_telegram(telegram: FakeTelegram) -> Callable[[str], str]:
    """The rules with one more destination of the receiver ``oncall``."""

    def change(rules: str) -> str:
        section = f"  telegram: {{token: '{TOKEN}', api_url: '{telegram.url}'}}\nreceivers:\n"
        destination = f"  oncall:\n    - telegram: {{chat_id: {CHAT}}}\n"
        return rules.replace("receivers:\n", section, 1).replace("  oncall:\n", destination, 1)

    return change


async def test_group_fires_changes_and_ends_in_one_message(world: World) -> None:
    async with FakeTelegram(seconds=lambda: world.clock.now() / 1000) as telegram:
        await world.start(with_telegram(telegram))
        web_1, web_2 = (alert("Down", "critical", instance=f"web-{number}") for number in (1, 2))
        await post(world, "g", web_1)
        await until(world, lambda: len(telegram.messages) == 1)
        telegram.expect(Want(("🔴 CRITICAL: Down on web-1 (group=g)", "1 firing", "instance=web-1")))

        await post(world, "g", web_1, web_2)
        await until(world, lambda: len(telegram.messages) == 2)
        telegram.expect(
            Want(("2 firing",), edits=1),
            Want(("🔴 new: web-2", "Down \N{MULTIPLICATION SIGN} 2"), reply=True),
        )

        ended = [{**each, "status": "resolved"} for each in (web_1, web_2)]
        await post(world, "g", *ended)
        await until(world, lambda: len(telegram.messages) == 3)
        telegram.expect(
            Want(("✅ Resolved: Down", "2 resolved"), edits=2),
            Want(("🔴 new: web-2", "Down \N{MULTIPLICATION SIGN} 2"), reply=True),
            Want(("✅ All resolved: 2 alerts", "Down \N{MULTIPLICATION SIGN} 2"), reply=True),
        )
        assert {method for method, _ in telegram.calls} == {"sendMessage", "editMessageText"}
        assert len(telegram.calls) == 5


async def test_edits_count_against_the_limit_of_a_group(world: World) -> None:
    """Fifteen messages and then their ends are 45 calls: posts, edits, replies. Telegram allows 20 in a minute."""
    async with FakeTelegram(seconds=lambda: world.clock.now() / 1000) as telegram:
        await world.start(with_telegram(telegram))
        for status in ("firing", "resolved"):
            for number in range(15):
                await post(world, f"g{number}", alert(f"Down{number}", "critical", status))
            await settled(world)
        assert len(telegram.calls) == 45
        assert telegram.refusals == []


async def test_storm_is_one_message_that_names_every_group(world: World) -> None:
    async with FakeTelegram(seconds=lambda: world.clock.now() / 1000) as telegram:
        await world.start(with_telegram(telegram))
        await hosts(world, range(80))
        await settled(world)
        names = {name for each in telegram.messages.values() for name in re.findall(r"\bn\d+", each.shown)}
        assert names == {f"n{number}" for number in range(80)}
        assert len(telegram.calls) < 40
        assert any("Alert storm: " in each.shown for each in telegram.messages.values())
        await hosts(world, range(80), "resolved")
        await settled(world)
        assert any("Storm over: " in each.shown for each in telegram.messages.values())
        assert telegram.refusals == []


async def test_chat_that_is_gone_is_reported_without_the_token(world: World) -> None:
    async with FakeTelegram() as telegram:
        telegram.chats.clear()
        await world.start(with_telegram(telegram))
        await post(world, "g", alert("Down", "critical", instance="web-1"))
        await until(world, lambda: bool(telegram.calls))
        await world.at_rest()
        shown = [await world.get(path) for path in ("/status", "/metrics", "/api/v1/deliveries")]
        assert "telegram: chat not found" in str(shown)
        assert TOKEN.partition(":")[2] not in str(shown)
