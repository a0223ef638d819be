"""The dead man's switch: it pings the monitor outside as long as the router receives, stores and delivers."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import metric_value, until_failed
from tests.world.conftest import World
from tests.world.fake_monitor import PING_TOKEN, FakeMonitor, Ping
from tests.world.fake_proxy import FakeProxy
from tests.world.fake_server import HANG
from tests.world.fake_server import http as monitor_http
from tests.world.fake_slack import http as slack_http
from tests.world.fake_smtp import answer as smtp_answer
from tests.world.heartbeats import HEARTBEAT, WATCHERS, pass_time, post, with_heartbeat
from tests.world.test_faults import ask

OK = Ping("GET", "", 200)
WITHHELD = 'alert_router_deadman_pings_total{outcome="withheld"}'


@pytest.fixture
async def monitor() -> AsyncIterator[FakeMonitor]:
    async with FakeMonitor() as monitor:
        yield monitor


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


def pinging(monitor: FakeMonitor, more: str = "") -> Callable[[str], str]:
    return lambda rules: f'{rules}\ndeadman: {{url: "{monitor.url}"{more}}}\n'


async def start(world: World, change: Callable[[str], str]) -> None:
    """Start, and wait until the first ping was sent or withheld."""
    await world.start(change)
    while (await state(world))["tried_at"] is None:
        pass
    await world.at_rest()


async def state(world: World) -> dict[str, Any]:
    found = await world.get("/api/v1/heartbeats")
    return dict(found["deadman"])


async def trouble(world: World) -> list[str]:
    """What the first page says about senders and the monitor."""
    found = (await world.get("/api/v1/overview"))["trouble"]
    return [each["words"] for each in found if each["page"] == "/heartbeats"]


def lines(logs: list[Any], event: str) -> list[Any]:
    return [each for each in logs if each["event"] == event]


async def test_it_pings_at_its_interval(world: World, monitor: FakeMonitor) -> None:
    await start(world, pinging(monitor, ", every: 30s"))
    await world.post("Slow", "info")
    assert monitor.pings == [OK]
    await pass_time(world, 29 * SECOND)
    assert len(monitor.pings) == 1
    await pass_time(world, SECOND)
    await pass_time(world, 30 * SECOND)
    assert monitor.pings == [OK] * 3
    assert await metric_value(world, 'alert_router_deadman_pings_total{outcome="ok"}') == 3
    last = await metric_value(world, "alert_router_deadman_last_success_timestamp_seconds")
    assert last == world.clock.now() / SECOND
    assert (await state(world))["succeeded_at"] == world.clock.now()
    assert await trouble(world) == []


async def test_nothing_pings_while_the_router_is_down(world: World, monitor: FakeMonitor) -> None:
    await start(world, pinging(monitor))
    await world.stop()
    world.clock.advance(HOUR)
    assert monitor.pings == [OK], "so the monitor raises the alarm"
    await start(world, pinging(monitor))
    assert monitor.pings == [OK] * 2


async def test_a_post_sends_the_text(world: World, monitor: FakeMonitor) -> None:
    await start(world, pinging(monitor, ", method: POST, text: router of Köln"))
    assert monitor.pings == [Ping("POST", "router of Köln", 200)]


async def test_a_failed_ping_is_logged_once_without_the_address(
    world: World, monitor: FakeMonitor, logs: list[Any]
) -> None:
    monitor.fail(monitor_http(404, f"no check at /ping/{PING_TOKEN}"), monitor_http(500), monitor_http(503))
    await start(world, pinging(monitor))
    await world.post("Slow", "info")
    for _ in range(2):
        await pass_time(world, MINUTE)
    (line,) = lines(logs, "a ping of the dead man's switch failed")
    assert line["reason"].startswith("http 404: nothing at this address")
    assert await metric_value(world, 'alert_router_deadman_pings_total{outcome="failed"}') == 3
    words = await trouble(world)
    assert [each.startswith("The ping of the monitor outside fails: ") for each in words] == [True]
    await pass_time(world, MINUTE)
    assert len(lines(logs, "the dead man's switch pings again")) == 1
    shown = [await state(world), *words, *logs, *await world.get("/metrics"), *await world.get("/heartbeats")]
    assert PING_TOKEN not in str(shown)


async def test_a_ping_that_hangs_ends_by_its_deadline(world: World, monitor: FakeMonitor) -> None:
    monitor.fail(HANG)
    await start(world, pinging(monitor, ", timeout: 0.2"))
    assert (await state(world))["failure"] == "timeout"
    await pass_time(world, MINUTE)
    assert (await state(world))["failure"] == ""


async def test_no_ping_while_a_heartbeat_is_silent(
    world: World, monitor: FakeMonitor, logs: list[Any]
) -> None:
    world.slack.channels[WATCHERS] = "watchers"
    await start(world, lambda rules: pinging(monitor)(with_heartbeat(HEARTBEAT)(rules)))
    await post(world)
    await pass_time(world, 10 * MINUTE)
    await world.slack.until(lambda: bool(world.slack.in_channel(WATCHERS)))
    await pass_time(world, MINUTE)
    sent = len(monitor.pings)
    for _ in range(3):
        await pass_time(world, MINUTE)
    assert len(monitor.pings) == sent
    (line,) = lines(logs, "the dead man's switch withholds its pings")
    assert line["reason"] == "heartbeat watchdog of source default is silent"
    assert await metric_value(world, WITHHELD) >= 3
    words = [each["words"] for each in (await world.get("/api/v1/overview"))["trouble"]]
    assert words[1] == "The monitor outside is not pinged: heartbeat watchdog of source default is silent"
    await post(world)
    await world.at_rest()
    await pass_time(world, MINUTE)
    assert len(monitor.pings) == sent + 1


async def test_no_ping_while_the_store_is_unwritable(world: World, monitor: FakeMonitor) -> None:
    await start(world, pinging(monitor))
    database, away = world.folder / "router.db", world.folder / "away.db"
    database.rename(away)
    world.clock.advance(MINUTE)
    while not (found := (await state(world))["withheld"]):
        pass
    assert "the database can't be used: " in found
    assert monitor.pings == [OK]
    away.rename(database)
    while (await ask(world, "/readyz"))[0] != 200:
        pass
    await pass_time(world, MINUTE)
    assert monitor.pings == [OK, OK]


async def test_no_ping_while_nothing_is_delivered(world: World, monitor: FakeMonitor) -> None:
    await start(world, pinging(monitor, ", stuck_after: 5m"))
    for fake in (world.slack, world.pagerduty):
        fake.fail(*[slack_http(503)] * 1_000)
    world.smtp.fail(*[smtp_answer("451 4.3.0 try later")] * 1_000)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await world.at_rest()
    for _ in range(5):
        await pass_time(world, MINUTE)
    sent = len(monitor.pings)
    found = (await state(world))["withheld"]
    assert found.startswith("nothing was delivered for 5 min, although messages are due at ")
    world.slack.recover()
    for _ in range(30):
        await pass_time(world, MINUTE)
    assert len(monitor.pings) > sent


async def test_one_broken_destination_withholds_nothing(world: World, monitor: FakeMonitor) -> None:
    await start(world, pinging(monitor, ", stuck_after: 5m"))
    world.slack.fail(*[slack_http(503)] * 10_000)
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await world.at_rest()
    for _ in range(60):
        await pass_time(world, MINUTE)
    assert (await state(world))["withheld"] == ""
    assert set(monitor.pings) == {OK}


async def test_a_reload_changes_or_ends_it(world: World, monitor: FakeMonitor) -> None:
    await world.start()
    await pass_time(world, HOUR)
    assert monitor.pings == []
    await world.reload(pinging(monitor))
    await world.at_rest()
    assert monitor.pings == [OK]
    await world.reload(lambda rules: rules)
    await world.at_rest()
    await pass_time(world, HOUR)
    assert monitor.pings == [OK]
    assert (await world.get("/api/v1/heartbeats"))["deadman"] is None


async def test_it_uses_the_proxy_of_the_network_settings(world: World, monitor: FakeMonitor) -> None:
    address = monitor.url.removeprefix("http://").partition("/")[0]
    async with FakeProxy(address) as proxy:
        url = monitor.url.replace(address, "monitor.example")
        rules = f'\nnetwork: {{proxy_url: "{proxy.url}"}}\ndeadman: {{url: "{url}"}}\n'
        await start(world, lambda text: text + rules)
        await world.at_rest()
        assert any("monitor.example" in each.target for each in proxy.asked)
        assert proxy.url not in str(await state(world))
