"""What is wrong now: every page begins with it."""

from html import unescape

from router.web.api.overview import find_trouble
from router.web.app_context import APP_CONTEXT
from tests.world.asking import until_failed
from tests.world.conftest import World
from tests.world.fake_slack import http as slack_http
from tests.world.test_destinations import page, title
from tests.world.test_failures import BERT


async def words(world: World) -> list[str]:
    assert world.service is not None
    found = await find_trouble(world.service.runner.app[APP_CONTEXT])
    return [each for each, _ in found.words]


async def quarantine(world: World, count: int) -> None:
    assert world.service is not None
    for _ in range(count):
        await world.service.store.quarantine(b"x", "default", "r", world.clock.now())


async def test_nothing_is_wrong_at_first(world: World) -> None:
    await world.start()
    (new,) = await words(world)
    assert new.startswith("The database is new and empty")
    await world.post("Slow", "info")
    assert await words(world) == []
    assert title(await page(world, "/destinations")) == "Destinations · Alert router"


async def test_the_most_urgent_trouble_stands_first(world: World) -> None:
    await world.start(lambda rules: rules.replace("[oncall@example.com]", f"[anna@example.com, {BERT}]"))
    assert world.service is not None
    await quarantine(world, 2)
    assert await words(world) == ["2 bodies are in quarantine"]
    await world.reload(lambda _: "receivers: {")
    assert (await words(world))[0] == "routes.yaml can't be used; the last good one stays in force"
    world.slack.fail(*[slack_http(503)] * 100)
    world.smtp.refused = {BERT: "550 5.1.1 unknown"}
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    while len(await words(world)) < 3:
        await world.service.store.ready()
    world.clock.advance(61_000)
    await world.at_rest()
    found = await words(world)
    assert found[0].startswith("slack:C0CRITICAL has been failing for 1 min")
    assert [each.split()[0] for each in found[1:]] == ["1", "routes.yaml", "2"], found
    assert found[1] == "1 dead letter: retry or discard it"


async def test_many_broken_destinations_are_one_line(world: World) -> None:
    many = "".join(f"    - slack: {{channel: C0{number:04}}}\n" for number in range(9))
    await world.start(lambda rules: rules.replace("  oncall:\n", f"  oncall:\n{many}"))
    world.slack.fail(*[slack_http(503)] * 1_000)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C00000")
    for _ in range(70):
        world.clock.advance(1_000)
        await world.at_rest()
    (line,) = await words(world)
    assert line.startswith(
        "10 destinations are failing: slack:C00000, slack:C00001, slack:C00002, and 7 more"
    )
    html = unescape(await page(world, "/destinations"))
    assert '<a href="/destinations?state=failing">10 destinations are failing' in html


async def test_the_overview_has_the_trouble_and_the_numbers(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await quarantine(world, 1)
    found = await world.get("/api/v1/overview")
    assert found["trouble"] == [{"words": "1 body is in quarantine", "page": "/quarantine"}]
    assert (found["firing"], found["dead_letters"], found["destinations"]) == (1, 0, 6)
    assert (found["timezone"], found["now"], found["preview"]) == ("UTC", world.clock.now(), False)
