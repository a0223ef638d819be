"""Objectives and tenants on both databases: counts by hour, ledgers of tenants, and what pruning keeps of them."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from router.model import DAY, HOUR, MINUTE, Alert, Delivered, Rejected, Retention, Status
from router.store import ClaimedDelivery, Store, counters
from router.store.objective_hours import ObjectiveCount, Overdue
from tests.unit.core.world import DAILY, MONDAY, PAGER, POLICY, SLACK, TEAM, alert, webhook

TENANTS = replace(
    POLICY,
    tenants=replace(POLICY.tenants, label="team", named=("shop", "a 'b' \\")),
    fingerprint="with tenants",
)
OUTCOMES = (
    (SLACK, Delivered({"ts": "1"})), (PAGER, Rejected("http 400")), (TEAM, Delivered({"ts": "2"})),
    (DAILY, Delivered()),
)  # fmt: skip


def of_team(team: str, name: str, level: str, status: Status = Status.FIRING) -> Alert:
    made = alert(f"{name}{team}", level, status)
    return replace(made, labels={**made.labels, "team": team}) if team else made


async def played(store: Store) -> int:
    """Alerts of four tenants fire and end, and are delivered or given up. Return the time at the end."""
    now = MONDAY + 10 * HOUR
    for status in Status:
        for team in ("shop", "a 'b' \\", "storage", ""):
            body = webhook(*(of_team(team, "A", level, status) for level in ("critical", "info")), group=team)
            await store.accept(body, "default", b"{}", TENANTS, now)
        for destination, outcome in OUTCOMES:
            while isinstance(work := await store.claim(destination, TENANTS, now), ClaimedDelivery):
                await store.record(work, outcome, TENANTS, now, now)
        now += DAY
    return now


def fates(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        name: {fate: count for fate, count in counts.items() if count}
        for name, counts in found["by_destination"].items()
    }


async def test_the_ledger_of_a_tenant_is_the_same_before_and_after_pruning(store: Store) -> None:
    now = await played(store)
    names = TENANTS.tenants.names
    before = {each: await store.pages.status_of_tenant(each) for each in names}
    assert names == ("shop", "a 'b' \\", "other", "none")
    assert before["shop"]["changes"] == {"fired": 2, "resolved": 2, "repeated": 0}
    for name, found in before.items():
        assert found["imbalance"] == 0
        assert (await store.pages.ledger(0, now, name))["by_destination"] == found["by_destination"]
        assert fates(found) == fates(before["shop"])
    whole = await store.pages.status()
    assert whole["changes_x_destinations"] == sum(each["changes_x_destinations"] for each in before.values())
    assert (await store.integrity(now)).miscounted.first == ()
    async for _ in store.prune(Retention(), now + 390 * DAY):
        pass
    assert (await store.pages.status_of_tenant("shop"))["fates"] == before["shop"]["fates"]
    pruned = await store.pages.ledger(None, now, "shop")
    assert pruned["fates"] == before["shop"]["fates"]
    assert (await store.integrity(now)).miscounted.first == ()


async def test_events_are_counted_by_tenant_in_each_period(store: Store) -> None:
    now = await played(store)
    counts, first, _ = await store.pages.objectives((0, now - HOUR, now + DAY), now, now)
    assert first == MONDAY + 10 * HOUR
    by_key = {(each.objective, each.tenant): each.events for each in counts}
    assert set(by_key) == {
        (name, tenant)
        for name in ("delivered", "in_time", "urgent_in_time")
        for tenant in TENANTS.tenants.names
    }
    good, bad = by_key["delivered", "shop"][0]
    (last_good, last_bad) = by_key["delivered", "shop"][1]
    assert (good, bad) == (
        fates(await store.pages.status_of_tenant("shop"))[SLACK.key]["delivered"],
        1 + bad - 1,
    )
    assert bad > 0
    assert (last_good, last_bad) == (0, 0)
    assert by_key["delivered", "shop"][2] == (0, 0)
    assert by_key["delivered", "shop"] == by_key["delivered", "none"]
    days = await store.pages.objective_days(0, "shop")
    assert sum(row[2] for row in days if row[0] == "delivered") == good
    together = await store.pages.objective_days(0, None)
    assert sum(row[2] for row in together if row[0] == "delivered") == 4 * good


async def test_events_of_webhooks_are_added_up(store: Store) -> None:
    for events in ((3, 1), (2, 0)):
        await store.add_events({(MONDAY, "", "accepted"): events})
    await store.add_events({})
    counts, _, overdue = await store.pages.objectives((MONDAY,), MONDAY, MONDAY)
    assert counts == [ObjectiveCount("", "accepted", ((5, 1),))]
    assert overdue == Overdue(0, 0, None, is_exact=True)


async def test_old_hours_of_objectives_are_merged(store: Store) -> None:
    now = await played(store)
    async for _ in store.prune(Retention(), now + 500 * DAY):
        pass
    assert (await store.pages.objectives((0,), now, now))[:2] == ([], None)
    assert (await store.integrity(now)).miscounted.first == ()


async def test_overdue_conversations_are_those_that_were_due(store: Store) -> None:
    now = MONDAY + 10 * HOUR
    await store.accept(webhook(alert("A", "critical"), group="A"), "default", b"{}", POLICY, now)
    await store.accept(webhook(alert("B", "warning"), group="B"), "default", b"{}", POLICY, now)
    _, _, before = await store.pages.objectives((0,), now, now)
    _, _, after = await store.pages.objectives((0,), now + 1, now - HOUR)
    _, _, later = await store.pages.objectives((0,), now + HOUR, now + HOUR)
    assert (before.count, after.urgent, after.count) == (0, 3, 3)
    assert (later.count, later.urgent, later.oldest) == (4, 3, now)
    assert later.oldest is not None
    assert now + 5 * MINUTE > later.oldest


async def test_the_ledger_of_all_reads_no_counter_of_a_tenant(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await played(store)
    read = counters.read_counters
    kinds: set[str] = set()

    def reading(connection: sa.Connection, *some: str) -> counters.Counts:
        found = read(connection, *some)
        kinds.update(what for what, _, _ in found)
        return found

    monkeypatch.setattr(counters, "read_counters", reading)
    await store.pages.status()
    assert kinds == {"webhook", "change", "owed", "fate", "delivery"}, "no alert fires any more"
    kinds.clear()
    await store.pages.status_of_tenant("shop")
    assert kinds == {"change of shop", "owed of shop", "fate of shop"}
