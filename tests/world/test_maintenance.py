"""The service maintains its ledger by itself: checked every minute and at the start, pruned every hour."""

from collections.abc import Callable

import aiohttp
from structlog.testing import capture_logs

from router.model import DAY, HOUR, MINUTE, SECOND, Millis
from tests import database
from tests.world.conftest import World

GAUGE = "alert_router_ledger_imbalance"
MISCOUNTED = "alert_router_miscounted_counters"


def read_number(world: World, sql: str) -> int:
    """Return the first number that a query finds; 0: it finds nothing."""
    found = database.rows(world.folder / "router.db", sql)
    return int(found[0][0]) if found else 0


def change(world: World, statement: str) -> None:
    database.change(world.folder / "router.db", statement)


_WHENEVER = 10 * SECOND
"""Of the clock, between two looks: upkeep may not have come to its rest yet when the clock is moved."""


async def until(world: World, true: Callable[[], bool], each: Millis = 0) -> None:
    """:param each: how far the clock moves between two looks"""
    assert world.service is not None
    while not true():
        world.clock.advance(each)
        await world.service.store.ready()


def gauge(world: World, name: str = GAUGE) -> float | None:
    assert world.service is not None
    return world.service.metrics.registry.get_sample_value(name)


async def test_what_is_over_is_pruned_and_the_ledger_stays(world: World) -> None:
    await world.start(lambda rules: rules + "retention: {history: 10d, webhooks: 1d}\n")
    for status in ("firing", "resolved"):
        await world.post("Down", "critical", status)
        await until(
            world, lambda: read_number(world, "SELECT count(*) FROM fates WHERE fate != 'delivered'") == 0
        )
    day = "/api/v1/ledger?since=2026-11-23&until=2026-11-24"
    before = await world.get(day)
    assert before["fates"]["delivered"] == 6
    world.clock.advance(2 * DAY)
    await until(
        world, lambda: read_number(world, "SELECT count(*) FROM webhooks WHERE body != x''") == 0, HOUR
    )
    assert read_number(world, "SELECT count(*) FROM changes") == 2
    world.clock.advance(9 * DAY)
    await until(world, lambda: read_number(world, "SELECT count(*) FROM webhooks") == 0, HOUR)
    assert read_number(world, "SELECT count(*) FROM changes") == 0
    assert await world.get(day) == before
    assert (await world.ledger())["fates"]["delivered"] == 6
    assert gauge(world) == 0


async def test_an_imbalance_is_noticed_within_a_minute_and_at_the_start(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until(world, lambda: gauge(world) == 0)
    change(world, "UPDATE changes SET destinations = destinations + 1")
    wrong = read_number(world, "SELECT id FROM changes")
    with capture_logs() as logs:
        world.clock.advance(HOUR)
        await until(world, lambda: gauge(world) == 1, _WHENEVER)
    errors = [each for each in logs if each["event"] == "the ledger does not balance"]
    assert errors == [
        {"event": "the ledger does not balance", "log_level": "error", "off": 1, "changes": [wrong]}
    ] * len(errors)
    assert errors
    assert f"{GAUGE} 1.0" in await world.get("/metrics")
    await world.stop()
    await world.start()
    await until(world, lambda: gauge(world) == 1)
    change(world, "UPDATE changes SET destinations = destinations - 1")
    world.clock.advance(MINUTE)
    await until(world, lambda: gauge(world) == 0, _WHENEVER)


async def test_what_contradicts_itself_is_noticed_named_and_counted(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    assert world.service is not None
    while (await world.get("/status"))["integrity"] is None:
        await world.service.store.ready()
    assert (await world.get("/status"))["integrity"] == {
        "contradicted_alerts": {"count": 0, "first": []},
        "empty_conversations": {"count": 0, "first": []},
        "miscounted_counters": {"count": 0, "first": []},
    }
    await until(world, lambda: read_number(world, "SELECT count(*) FROM fates WHERE fate = 'pending'") == 0)
    await world.at_rest()
    change(
        world,
        f"UPDATE alerts SET status = 'resolved', claimed_firing_at = {world.clock.now() - 7 * MINUTE}",
    )
    change(world, "UPDATE members SET status = 'resolved', notified = 'resolved', at = NULL")
    metrics = {
        "alert_router_contradicted_alerts": 1,
        "alert_router_empty_conversations": 3,
    }
    registry = world.service.metrics.registry
    with capture_logs() as logs:
        world.clock.advance(MINUTE)
        await until(
            world, lambda: {name: registry.get_sample_value(name) for name in metrics} == metrics, _WHENEVER
        )
    found = {each["fault"]: each["first"] for each in logs if each["log_level"] == "error"}
    contradicted = found["alerts are resolved here although their sender still reports them as firing"]
    assert [name.startswith("default: Down ") for name in contradicted] == [True]
    empty = found["conversations are open with nothing firing in them"]
    assert sorted(name.split(": group:")[0] for name in empty) == [
        "email:oncall@example.com",
        "pagerduty:e380a692",
        "slack:C0CRITICAL",
    ]
    status = (await world.get("/status"))["integrity"]
    counts = [status[name]["count"] for name in ("contradicted_alerts", "empty_conversations")]
    assert counts == [1, 3]


async def test_counters_that_are_off_are_noticed_every_hour_and_not_repaired(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until(world, lambda: gauge(world, MISCOUNTED) == 0)
    change(world, "UPDATE counters SET count = count + 1 WHERE what = 'change' AND value = 'fired'")
    for _ in range(2):  # the second time after a start
        with capture_logs() as logs:
            await until(world, lambda: gauge(world, MISCOUNTED) == 1, MINUTE)
        assert [each["first"] for each in logs if each["log_level"] == "error"] == [
            ["change fired: counted 2, added up 1"]
        ]
        integrity = (await world.get("/status"))["integrity"]
        assert integrity["miscounted_counters"]["count"] == 1
        await world.stop()
        await world.start()
    assert (await world.get("/status"))["ledger"]["changes"]["fired"] == 2


async def test_the_ledger_answers_for_a_period_and_refuses_an_invalid_one(world: World) -> None:
    await world.start()
    await world.post("Cert", "info")
    found = await world.get("/api/v1/ledger?since=2026-11-23T12:00:00Z")
    assert (found["fates"]["digest"], found["imbalance"], found["wrong"]) == (1, 0, [])
    assert (await world.get("/api/v1/ledger?until=2026-11-23T12:00:00Z"))["changes_x_destinations"] == 0
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.service.url}/api/v1/ledger?since=soon") as answer,
    ):
        assert (answer.status, "'soon' is not a time" in await answer.text()) == (400, True)


async def test_maintenance_continues_after_the_database_could_not_be_read(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    change(world, "ALTER TABLE day_sums RENAME TO gone")
    with capture_logs() as logs:
        await until(world, lambda: any("no such table" in each.get("reason", "") for each in logs), MINUTE)
    change(world, "ALTER TABLE gone RENAME TO day_sums")
    change(world, "UPDATE changes SET destinations = destinations + 1")
    await until(world, lambda: gauge(world) == 1, HOUR)


async def test_the_quarantine_keeps_its_limit_counts_and_says_so(world: World) -> None:
    await world.start(lambda rules: rules + "retention: {quarantine_rows: 3}\n")
    assert world.service is not None
    bodies = "alert_router_quarantine_dropped_total"
    with capture_logs() as logs:
        async with aiohttp.ClientSession() as session:
            for _ in range(5):
                async with session.post(f"{world.service.url}/webhook", data=b"not JSON") as answer:
                    assert answer.status == 202
        await until(world, lambda: gauge(world, bodies) == 2)
    assert read_number(world, "SELECT count(*) FROM webhooks WHERE quarantined IS NOT NULL") == 3
    shown = (await world.get("/status"))["quarantine"]
    assert (shown["rows"], shown["max_rows"], shown["dropped_since_start"]) == (3, 3, 2)
    dropped = [each for each in logs if each["event"].startswith("the quarantine reached its limit")]
    assert sum(each["dropped"] for each in dropped) == 2
    assert (await world.ledger())["webhooks"]["quarantined"] == 5
