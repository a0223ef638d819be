"""The log line of each delivery."""

from typing import Any

from structlog.testing import capture_logs

from router.model import HOUR, MINUTE, SECOND
from tests.unit.web.test_log_lines import lines
from tests.world.asking import until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_slack import http as slack_http


def deliveries(logs: list[Any], destination: str) -> list[dict[str, Any]]:
    return [each for each in lines(logs, "delivery") if each["destination"] == destination]


async def test_each_delivery_has_one_line_with_rule_and_outcome(world: World) -> None:
    await world.start()
    world.slack.fail(slack_http(503))
    with capture_logs() as logs:
        assert await world.post("Down", "critical") == 200
        await until_failed(world, "slack:C0CRITICAL")
        world.clock.advance(MINUTE)
        await world.slack.until(lambda: bool(world.slack.messages))
        await until_delivered(world, 3)
    assert len(lines(logs, "webhook accepted")) == 1
    failed, delivered = deliveries(logs, "slack:C0CRITICAL")
    assert (failed["status"], failed["log_level"], failed["attempt"]) == ("retry", "warning", 1)
    assert failed["reason"]
    assert (delivered["status"], delivered["log_level"], delivered["attempt"]) == ("delivered", "info", 2)
    assert "reason" not in delivered
    for each in (failed, delivered):
        assert each["alertname"] == "Down"
        assert each["group"] == '{alertname="Down"}'
        assert each["receiver"] == "r"
        assert each["rule"].startswith("route.routes[")
        assert (each["tenant"], each["channel"], each["kind"]) == ("default", "slack", "group")
        assert each["durationMs"] >= 0
    assert failed["delayMs"] < MINUTE <= delivered["delayMs"]
    assert len({each["delivery"] for each in (failed, delivered)}) == 2


async def test_the_delay_of_a_held_alert_counts_from_its_opening(world: World) -> None:
    world.clock.advance(10 * HOUR)
    await world.start()
    await world.post("Disk", "warning")
    await world.at_rest()
    with capture_logs() as logs:
        world.clock.advance(11 * HOUR + 5 * SECOND)
        await world.slack.until(lambda: bool(world.slack.messages))
        await until_delivered(world, 2)
    (line,) = deliveries(logs, "slack:C0WARNINGS")
    assert line["status"] == "delivered"
    assert line["delayMs"] <= HOUR


async def test_a_digest_has_a_line_with_its_alerts(world: World) -> None:
    await world.start()
    for name in ("One", "Two"):
        await world.post(name, "info")
    with capture_logs() as logs:
        world.clock.advance(21 * HOUR)
        await world.smtp.until(lambda: bool(world.smtp.mails))
        await until_delivered(world, 1)
    (line,) = [each for each in lines(logs, "delivery") if each["kind"] == "digest"]
    assert (line["status"], line["alertname"]) == ("delivered", "One, Two")
    assert line["rule"].startswith("route.routes[")
    assert "group" not in line
