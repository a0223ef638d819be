"""What a person sees first of a message, on a lock screen or in a list of incidents: what fires, and where."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from router.model import MINUTE
from tests.world.bulk import alert, post, until
from tests.world.conftest import World
from tests.world.fake_discord import URL, FakeDiscord
from tests.world.fake_teams import FakeTeams
from tests.world.fake_telegram import CHAT, TOKEN, FakeTelegram, parsed
from tests.world.test_storm import settled


@dataclass
class _Providers:
    world: World
    discord: FakeDiscord
    teams: FakeTeams
    telegram: FakeTelegram

    @property
    def heads(self) -> Mapping[str, str]:
        """The first line of the newest state of what each provider has, without its markup."""
        discord, telegram = list(self.discord.messages.values()), list(self.telegram.messages.values())
        return {
            "pagerduty": self.world.pagerduty.only.summary,
            "discord": discord[0].content.replace("\\", ""),
            "teams": str(self.teams.cards[-1]["body"][0]["text"]).replace("\\", ""),
            "telegram": parsed(telegram[0].body).text.splitlines()[0],
        }

    @property
    def refusals(self) -> list[object]:
        refused = [event for event in self.world.pagerduty.events if event.status != 202]
        return [*refused, *self.teams.refusals, *self.telegram.refusals]


@asynccontextmanager
async def _started(world: World) -> AsyncIterator[_Providers]:
    async with FakeDiscord() as discord, FakeTeams() as teams, FakeTelegram() as telegram:
        sections = (
            f"  discord: {{api_url: '{discord.url}'}}\n  teams: {{}}\n"
            f"  telegram: {{token: '{TOKEN}', api_url: '{telegram.url}'}}\nreceivers:\n"
        )
        destinations = (
            f"  oncall:\n    - discord: {{webhook_url: '{URL}'}}\n    - teams: {{webhook_url: '{teams.url}'}}\n"
            f"    - telegram: {{chat_id: {CHAT}}}\n"
        )
        await world.start(
            lambda rules: rules.replace("receivers:\n", sections, 1).replace("  oncall:\n", destinations, 1)
        )
        yield _Providers(world, discord, teams, telegram)


async def test_titles_name_what_fires_and_not_what_ended(world: World) -> None:
    async with _started(world) as providers:
        first = [alert(name, "critical", instance="web-1") for name in ("AAA", "BBB", "CCC")]
        last = alert("ZZZdown", "critical", instance="web-9")
        await post(world, "g", *first)
        await settled(world)
        world.clock.advance(MINUTE)
        await post(world, "g", *({**each, "status": "resolved"} for each in first), last)
        await settled(world)
        what = "ZZZdown on web-9 (group=g; 3 resolved)"
        assert providers.heads == {
            "pagerduty": what,
            "discord": f"🔴 CRITICAL: {what}",
            "teams": f"🔴 CRITICAL: {what}",
            "telegram": f"🔴 CRITICAL: {what}",
        }
        assert not providers.refusals


async def test_heads_say_where_and_what_without_a_summary(world: World) -> None:
    async with _started(world) as providers:
        notes = {"annotations": {"description": "db1 unreachable for 5m"}}
        await post(world, "g", {**alert("HostDown", "critical", instance="db1:9100", job="node"), **notes})
        await settled(world)
        what, why = "HostDown on db1:9100 (group=g)", "db1 unreachable for 5m"
        assert providers.heads == {
            "pagerduty": f"{what}: {why}",
            "discord": f"🔴 CRITICAL: {what} — {why}",
            "teams": f"🔴 CRITICAL: {what}",
            "telegram": f"🔴 CRITICAL: {what}",
        }
        assert not providers.refusals


async def test_unusable_addresses_are_no_links_and_refused_by_no_provider(world: World) -> None:
    async with _started(world) as providers:
        bad = {
            "generatorURL": "http://:9090/graph?g0.expr=up",
            "annotations": {"runbook_url": "http://host:99999/"},
        }
        await post(world, "g", {**alert("Url", "critical"), **bad}, externalURL="http://:9093")
        await until(world, lambda: bool(providers.telegram.messages and providers.teams.cards))
        await settled(world)
        (incident,) = world.pagerduty.accepted
        assert incident.body.keys().isdisjoint({"links", "client_url"})
        assert "actions" not in providers.teams.cards[0]
        assert parsed(providers.telegram.only.body).addresses == []
        assert "](<" not in providers.discord.only.shown
        assert "http://host:99999/" in providers.telegram.only.shown
        assert not providers.refusals
