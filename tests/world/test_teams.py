"""Teams over real sockets: a card when it fires, one for each change, and one when it is resolved."""

import re

from router.model import SECOND
from tests.world.conftest import World
from tests.world.fake_teams import FakeTeams, Want, shown
from tests.world.test_storm import settled, warnings


def with_teams(rules: str, teams: FakeTeams) -> str:
    """The rules, with a Teams destination for warnings."""
    rules = rules.replace("receivers:\n", "  teams: {}\nreceivers:\n", 1)
    more = f"    - teams: {{webhook_url: '{teams.url}'}}\n"
    return rules.replace("    - slack: {channel: C0WARNINGS", more + "    - slack: {channel: C0WARNINGS")


async def test_a_group_fires_changes_and_resolves_in_three_cards(world: World) -> None:
    async with FakeTeams() as teams:
        await world.start(lambda rules: with_teams(rules, teams))
        for count, (instance, status) in enumerate(
            (("n1", "firing"), ("n2", "firing"), ("n2", "resolved")), 1
        ):
            assert await world.post("Down", "warning", status, instance=instance) == 200
            world.clock.advance(10 * SECOND)
            await teams.until(lambda count=count: len(teams.cards) == count)  # type: ignore[misc]  # (a default)
        assert await world.post("Down", "warning", "resolved", instance="n1") == 200
        world.clock.advance(10 * SECOND)
        await teams.until(lambda: len(teams.cards) == 4)
        teams.expect(
            Want("Warning", ("WARNING: Down", "1 firing")),
            Want("Warning", ("2 firing", "n1", "n2")),
            Want("Warning", ("1 firing · 1 resolved", "n1", "n2")),
            Want("Good", ("Resolved: Down", "2 resolved")),
        )


async def test_a_storm_is_told_in_cards_that_name_every_group(world: World) -> None:
    async with FakeTeams() as teams:
        await world.start(lambda rules: with_teams(rules, teams))
        await warnings(world, 0, 130)
        await settled(world)
        text = "\n".join(map(shown, teams.cards))
        assert "Alert storm: 130 groups firing" in text
        assert {f"Down{number}" for number in range(130)} <= set(re.findall(r"Down\d+", text))
        assert len(teams.cards) == 1
        assert not teams.refusals
