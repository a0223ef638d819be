"""The ledger as an operator sees it: of all time from counters, and of a period."""

import asyncio
import threading
from typing import Any

import pytest

from router.model import HOUR, MINUTE
from router.store import ledger
from tests import database
from tests.world.asking import until_delivered
from tests.world.browsing import call, read
from tests.world.conftest import World


async def played(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.post("Slow", "info")
    await until_delivered(world, 3)


async def test_the_ledger_of_all_time_comes_from_counters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await played(world)
    monkeypatch.setattr(ledger, "ledger_of_period", None)
    found = await world.get("/api/v1/ledger")
    assert (found["changes_x_destinations"], found["imbalance"], found["wrong"]) == (4, 0, [])
    assert {fate: count for fate, count in found["fates"].items() if count} == {"delivered": 3, "digest": 1}
    page = await read(world, "/ledger")
    assert "4 changes × destinations = 3 delivered + 0 pending + 0 held + 0 inhibited + 1 digest" in page.text
    assert "Balanced." in page.text
    assert "/deliveries?destination=slack%3AC0CRITICAL" in page.links


async def test_a_period_is_in_the_address_and_in_the_timezone_of_the_rules(world: World) -> None:
    await played(world)
    world.clock.advance(2 * HOUR)
    await world.post("Late", "info")

    def berlin(rules: str) -> str:
        return rules.replace("timezone: UTC", "timezone: Europe/Berlin")

    await world.reload(berlin)
    for period, count in (("since=2026-11-23T14:30", 1), ("until=2026-11-23T14:30", 4), ("since=&until=", 5)):
        page = await read(world, f"/ledger?{period}")
        assert f" {count} changes × destinations" in page.text, period
    assert "From (Europe/Berlin)" in page.text
    assert (await world.get("/api/v1/ledger?since=2026-11-23T14:30"))["changes_x_destinations"] == 0
    assert (await world.get("/api/v1/ledger?since=2026-11-23T14:30%2B01:00"))["changes_x_destinations"] == 1


async def test_an_invalid_period_is_refused_in_words(world: World) -> None:
    await world.start()
    for path in ("/ledger?since=soon", "/ledger?since=2026-11-24T00:00&until=2026-11-23T00:00"):
        assert (await read(world, path)).status == 400
    for path in ("since=soon", "until=2026-99-01", "since=2026-11-24&until=2026-11-24", "from=2026-11-24"):
        status, problem = await call(world, "GET", f"/api/v1/ledger?{path}")
        assert (status, len(problem["errors"])) == (400, 1)


async def test_a_change_with_too_few_fates_is_shown_and_linked(world: World) -> None:
    await played(world)
    path = world.folder / "router.db"
    ((change, alert),) = database.rows(path, "SELECT id, alert_id FROM changes ORDER BY id LIMIT 1")
    database.change(path, f"UPDATE changes SET destinations = destinations + 1 WHERE id = {change}")
    period = await world.get("/api/v1/ledger?since=2026-11-23")
    assert (period["imbalance"], period["wrong"], period["wrong_changes"]) == (
        1, [change], [{"change": change, "alert": alert}]
    )  # fmt: skip
    page = await read(world, "/ledger?since=2026-11-23")
    assert "NOT balanced: 1 fate is missing or surplus" in page.text
    assert f"/alerts/{alert}" in page.links
    await world.stop()
    await world.start()  # all changes are checked then
    assert world.service is not None
    while (await world.get("/api/v1/ledger"))["wrong"] != [change]:
        await world.service.store.ready()
    assert f"/alerts/{alert}" in (await read(world, "/ledger")).links
    while (await world.get("/api/v1/ledger"))["integrity"] is None:
        await world.service.store.ready()
    assert "rows add up to: 1 ( owed: counted 4, added up 5 )" in (await read(world, "/ledger")).text


async def test_one_period_is_counted_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await played(world)
    begun, go_on, count = threading.Event(), threading.Event(), ledger.ledger_of_period

    def slow(*given: Any) -> dict[str, Any]:
        begun.set()
        assert go_on.wait(MINUTE)
        return count(*given)

    monkeypatch.setattr(ledger, "ledger_of_period", slow)
    first = asyncio.create_task(call(world, "GET", "/api/v1/ledger?since=2026-11-23"))
    await asyncio.to_thread(begun.wait)
    status, problem = await call(world, "GET", "/api/v1/ledger?since=2026-11-22")
    assert (status, "is being counted already" in problem["detail"]) == (503, True)
    assert (await call(world, "GET", "/api/v1/ledger"))[0] == 200
    assert (await read(world, "/ledger?since=2026-11-22")).status == 503
    go_on.set()
    assert (await first)[0] == 200
    assert (await call(world, "GET", "/api/v1/ledger?since=2026-11-22"))[0] == 200
