"""More than a minute's worth at one destination: one message, kept up to date."""

from router.model import HOUR, MINUTE, SECOND
from tests.world.conftest import World
from tests.world.fake_slack import Want, error
from tests.world.test_delivery import delivered, failed


async def warnings(world: World, first: int, count: int, status: str = "firing") -> None:
    for number in range(first, first + count):
        assert await world.post(f"Down{number}", "warning", status) == 200
    world.clock.advance(2 * SECOND)  # past the inhibit wait


async def told(world: World, destination: str, count: int) -> None:
    """So many changes are known at the destination."""
    assert world.service is not None
    store = world.service.store
    while (await store.status())["by_destination"].get(destination, {}).get("delivered", 0) < count:
        await store.ready()


async def test_a_storm_is_one_message_kept_up_to_date_until_it_is_over(world: World) -> None:
    await world.start()
    await warnings(world, 0, 70)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(
        Want("C0WARNINGS", ("Alert storm: 70 groups firing", "[warning] Down", "and 50 more", "/#/alerts"))
    )
    await told(world, "slack:C0WARNINGS", 70)
    await warnings(world, 70, 70)
    world.clock.advance(5 * SECOND)
    await world.slack.until(lambda: world.slack.only.edits == 1)
    world.slack.expect(Want("C0WARNINGS", ("140 groups firing",)))
    await told(world, "slack:C0WARNINGS", 140)
    await warnings(world, 0, 1, "resolved")
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    world.clock.advance(5 * SECOND)
    await world.slack.until(lambda: any(each.edits == 2 for each in world.slack.messages.values()))
    world.slack.expect(
        Want("C0WARNINGS", ("Storm over: 139 groups still firing",)),
        Want("C0WARNINGS", ("Resolved", "Down0")),
    )


async def test_a_storms_message_that_slack_refuses_gives_way_to_single_ones(world: World) -> None:
    await world.start()
    # What can't be rendered is sent plain in the same attempt: both are refused.
    world.slack.fail(error("invalid_blocks"), error("invalid_blocks"))
    await warnings(world, 0, 70)
    await world.slack.until(lambda: bool(world.slack.messages))
    assert not any("storm" in each.shown for each in world.slack.messages.values())


async def test_what_is_muted_by_the_time_it_is_due_is_no_storm(world: World) -> None:
    await world.start(lambda rules: rules.replace("equal: [alertname, cluster]", "equal: [cluster]"))
    for number in range(70):
        assert await world.post(f"Down{number}", "warning") == 200
    await world.post("Site", "critical")
    await world.post("Full", "warning", cluster="eu-2")
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    world.slack.expect(Want("C0CRITICAL", ("Site",)), Want("C0WARNINGS", ("Full",)))
    assert not any("storm" in each.shown for each in world.slack.messages.values())
    fates = (await world.ledger())["by_destination"]["slack:C0WARNINGS"]
    assert fates["inhibited"] == 70


async def fates(world: World, destination: str, wanted: dict[str, int]) -> None:
    """The changes there come to this."""
    while (await world.ledger())["by_destination"].get(destination) != wanted:
        assert world.service is not None
        await world.service.store.ready()


async def test_what_a_storm_can_not_tell_is_given_up_each_after_its_own_time(world: World) -> None:
    await world.start(lambda rules: rules.replace("slack: {token", "slack: {give_up_after: 3h, token"))
    world.slack.trouble["C0WARNINGS"] = "service_unavailable"
    await warnings(world, 0, 70)
    await failed(world, "slack:C0WARNINGS")
    world.clock.advance(2 * HOUR)
    await warnings(world, 70, 1)
    world.clock.advance(2 * HOUR)
    await fates(world, "slack:C0WARNINGS", {"dead": 70, "pending": 1})
    del world.slack.trouble["C0WARNINGS"]
    world.clock.advance(HOUR)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Down70",)))
    await fates(world, "slack:C0WARNINGS", {"dead": 70, "delivered": 1})


async def test_an_email_storm_is_one_mail(world: World) -> None:
    await world.start()
    await warnings(world, 0, 130)
    await world.smtp.until(lambda: bool(world.smtp.mails))
    assert world.smtp.only.subject == "Alert storm: 130 groups firing"
    await told(world, "email:team@example.com", 130)
    world.clock.advance(5 * MINUTE)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    assert world.smtp.mails[1].subject == "Storm over: 130 groups still firing"
    await delivered(world, 3)
