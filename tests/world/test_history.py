"""What the whole service keeps of what it did."""

import json
from typing import Any

from router.decide.matchers import parse_matchers
from router.model import HOUR, SECOND
from router.store import Search, Story
from tests.world.asking import until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_slack import TOKEN
from tests.world.fake_slack import http as slack_http


async def story(world: World, name: str) -> Story:
    assert world.service is not None
    store = world.service.store
    (found,) = (await store.pages.find_alerts(Search(parse_matchers(f'alertname="{name}"')))).alerts
    known = await store.pages.story(found["id"])
    assert known is not None
    return known


async def kept(world: World, delivery: int) -> dict[str, Any]:
    assert world.service is not None
    message = await world.service.store.pages.message(delivery)
    assert message is not None
    return message


async def test_each_attempt_keeps_what_it_sent_without_secrets(world: World) -> None:
    await world.start()
    world.slack.fail(slack_http(503))
    assert await world.post("Down", "critical") == 200
    await until_failed(world, "slack:C0CRITICAL")
    world.clock.advance(60 * SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    attempts = [each for each in (await story(world, "Down")).events if each["event"] == "attempt"]
    assert sorted((each["destination"].split(":")[0], each["outcome"]) for each in attempts) == [
        ("email", "delivered"), ("pagerduty", "delivered"), ("slack", "delivered"), ("slack", "retry"),
    ]  # fmt: skip
    messages = {each["delivery"]: await kept(world, each["delivery"]) for each in attempts}
    assert all("Down" in json.dumps(each["body"]) for each in messages.values())
    assert {each["channel"] for each in messages.values()} == {"slack", "pagerduty", "email"}
    for secret in (TOKEN, KEY):
        assert not any(secret in json.dumps(each) for each in messages.values())


async def test_a_decision_names_the_line_of_its_rule_after_a_reload(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    await world.reload(lambda rules: "# who is notified of what\n" + rules)
    await world.post("Slow", "critical")
    await until_delivered(world, 6)
    lines = [
        number for number, text in enumerate(world.rules.splitlines(), 1) if "critical, receiver" in text
    ]
    decisions = {
        name: {each["position"] for each in (await story(world, name)).events if each["event"] == "decision"}
        for name in ("Down", "Slow")
    }
    path = world.folder / "routes.yaml"
    assert decisions == {"Down": {f"{path}:{lines[0]}"}, "Slow": {f"{path}:{lines[0] + 1}"}}


async def test_history_is_still_there_after_a_restart(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    before = await story(world, "Down")
    await world.stop()
    world.clock.advance(HOUR)
    await world.start()
    assert await story(world, "Down") == before
