"""Telegram in the whole service: an alert fires, its group changes, and all of it ends."""

from tests.world.conftest import World
from tests.world.fake_telegram import CHAT, TOKEN, FakeTelegram, Want
from tests.world.test_complete_sets import alert, post, until


async def test_group_fires_changes_and_ends_in_one_message(world: World) -> None:
    async with FakeTelegram(seconds=lambda: world.clock.now() / 1000) as telegram:

        def with_telegram(rules: str) -> str:
            section = f"  telegram: {{token: '{TOKEN}', api_url: '{telegram.url}'}}\nreceivers:\n"
            destination = f"  oncall:\n    - telegram: {{chat_id: {CHAT}}}\n"
            return rules.replace("receivers:\n", section, 1).replace("  oncall:\n", destination, 1)

        await world.start(with_telegram)
        web_1, web_2 = (alert("Down", "critical", instance=f"web-{number}") for number in (1, 2))
        await post(world, "g", web_1)
        await until(world, lambda: len(telegram.messages) == 1)
        telegram.expect(Want(("🔥 CRITICAL: Down", "1 firing", "instance=web-1")))

        await post(world, "g", web_1, web_2)
        await until(world, lambda: len(telegram.messages) == 2)
        telegram.expect(Want(("2 firing",), edits=1), Want(("🔴 new: instance=web-2",), reply=True))

        ended = [{**each, "status": "resolved"} for each in (web_1, web_2)]
        await post(world, "g", *ended)
        await until(world, lambda: len(telegram.messages) == 3)
        telegram.expect(
            Want(("✅ Resolved: Down", "2 resolved"), edits=2),
            Want(("🔴 new: instance=web-2",), reply=True),
            Want(("✅ All resolved: 2 alerts",), reply=True),
        )
        assert {method for method, _ in telegram.calls} == {"sendMessage", "editMessageText"}
        assert len(telegram.calls) == 5


async def test_chat_that_is_gone_is_reported_without_the_token(world: World) -> None:
    async with FakeTelegram() as telegram:
        telegram.chats.clear()

        def with_telegram(rules: str) -> str:
            section = f"  telegram: {{token: '{TOKEN}', api_url: '{telegram.url}'}}\nreceivers:\n"
            destination = f"  oncall:\n    - telegram: {{chat_id: {CHAT}}}\n"
            return rules.replace("receivers:\n", section, 1).replace("  oncall:\n", destination, 1)

        await world.start(with_telegram)
        await post(world, "g", alert("Down", "critical", instance="web-1"))
        await until(world, lambda: bool(telegram.calls))
        await world.at_rest()
        shown = [await world.get(path) for path in ("/status", "/metrics", "/api/v1/deliveries")]
        assert "telegram: chat not found" in str(shown)
        assert TOKEN.partition(":")[2] not in str(shown)
