"""Rates of routes.yaml, on the clock that the test moves: of a destination, of a section, and after a reload."""

from collections.abc import Callable
from typing import Any

from router.model import MINUTE, SECOND
from tests.world.conftest import World
from tests.world.slack_limits import posted, to_all

NAMES = "ABCDEF"


def limited(options: str) -> Callable[[str], str]:
    """Change the rules so that the channel of criticals has these options."""
    return lambda rules: rules.replace("{channel: C0CRITICAL}", f"{{channel: C0CRITICAL, {options}}}")


def shared(options: str, section: str = "slack") -> Callable[[str], str]:
    return lambda rules: rules.replace(f"  {section}: {{", f"  {section}: {{{options}, ")


async def criticals(world: World) -> None:
    for name in NAMES:
        assert await world.post(name, "critical") == 200


async def lane(world: World, destination: str) -> dict[str, Any]:
    rows = (await world.get("/status"))["lanes"]
    return next(row for row in rows if row["destination"] == destination)


async def test_a_destination_is_notified_at_its_own_rate(world: World) -> None:
    await world.start(limited("rate: 6/m burst 2"), drain=0)
    await criticals(world)
    await posted(world, 2)
    for count in range(3, len(NAMES) + 1):
        world.clock.advance(9 * SECOND)
        await posted(world, count - 1)
        world.clock.advance(SECOND)
        await posted(world, count)


async def test_a_destination_without_a_rate_is_notified_immediately(world: World) -> None:
    await world.start(lambda rules: shared("rate: none")(limited("rate: none")(rules)), drain=0)
    await criticals(world)
    await posted(world, len(NAMES))


async def test_the_destinations_of_a_section_share_its_rate(world: World) -> None:
    many = to_all(world, [f"C{number:04}" for number in range(6)])
    await world.start(lambda rules: shared("rate: 6/m burst 2")(many(rules)), drain=0)
    await world.post("Down", "critical")
    await posted(world, 2)
    for count in range(3, 7):
        world.clock.advance(9 * SECOND)
        await posted(world, count - 1)
        world.clock.advance(SECOND)
        await posted(world, count)
    assert {message.channel for message in world.slack.messages.values()} == set(world.slack.channels)


async def test_edits_have_a_rate_of_their_own(world: World) -> None:
    await world.start(shared("edit_rate: 6/m burst 1"), drain=0)
    for name in "ABC":
        await world.post(name, "critical")
    await posted(world, 3)
    world.clock.advance(MINUTE)
    for name in "ABC":
        await world.post(name, "critical", "resolved")
    await posted(world, 3 + 2)  # an edit and its reply
    for count in (7, 9):
        world.clock.advance(10 * SECOND)
        await posted(world, count)
    assert [method for method, _ in world.slack.calls[3:]] == ["chat.update", "chat.postMessage"] * 3


async def test_a_reload_changes_the_rate_of_a_lane_that_waits(world: World) -> None:
    await world.start(limited("rate: 1/h burst 1"), drain=0)
    await criticals(world)
    await posted(world, 1)
    assert (await lane(world, "slack:C0CRITICAL"))["rate"] == "1/h burst 1"
    assert (await world.reload(limited("rate: 6/m burst 1")))[0] == 200
    await posted(world, 1)
    for count in (2, 3):
        world.clock.advance(10 * SECOND)
        await posted(world, count)
    assert (await world.reload(limited("rate: none")))[0] == 200
    await posted(world, len(NAMES))


async def test_a_reload_changes_the_rate_of_a_section(world: World) -> None:
    await world.start(lambda rules: shared("rate: 1/h burst 1")(limited("rate: none")(rules)), drain=0)
    await world.post("A", "critical")
    await posted(world, 1)
    assert (await world.reload(lambda rules: shared("rate: none")(limited("rate: none")(rules))))[0] == 200
    await criticals(world)
    await posted(world, len(NAMES))


async def test_the_status_shows_the_limits_as_configured(world: World) -> None:
    await world.start(lambda rules: shared("rate: none", "email")(limited("rate: 30/m burst 2")(rules)))
    slack, paging = await lane(world, "slack:C0CRITICAL"), await lane(world, "email:oncall@example.com")
    assert (slack["rate"], slack["shared_rate"], slack["a_minute"]) == ("30/m burst 2", "4/s burst 10", 30)
    assert (paging["rate"], paging["shared_rate"], paging["a_minute"]) == ("2/s burst 10", None, 120)
    assert (slack["max_concurrency"], slack["storm_above"]) == (4, 60)


async def test_a_storm_begins_above_the_number_that_is_configured(world: World) -> None:
    await world.start(limited("storm_above: 3, rate: 1/m burst 1"), drain=0)
    await criticals(world)
    await posted(world, 1)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: any("storm" in each.shown for each in world.slack.messages.values()))
