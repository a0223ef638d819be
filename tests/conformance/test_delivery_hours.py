"""The hours of deliveries follow every outcome, and their sums stay when old hours are merged."""

import pytest

from router.model import DAY, HOUR, Delivered, Retention, Retry
from router.store import ClaimedDelivery, Store
from router.store.delivery_hours import KEPT, read_hours
from tests.unit.core.world import MONDAY, PAGER, POLICY, SLACK, alert, webhook


async def sent(store: Store, now: int) -> None:
    """Two deliveries end in the hour: one is delivered, the other one fails."""
    await store.accept(webhook(alert(f"A{now}", "critical"), group=f"A{now}"), "default", b"{}", POLICY, now)
    for destination, outcome in ((SLACK, Delivered({"ts": "1"})), (PAGER, Retry("http 503"))):
        work = await store.claim(destination, POLICY, now)
        assert isinstance(work, ClaimedDelivery)
        await store.record(work, outcome, POLICY, now, now + 1_000 * DAY)


async def hours(store: Store, until: int, *destinations: str, since: int = 0) -> dict[tuple[int, str], int]:
    rows = await store.database.read(lambda c: read_hours(c, since, until, destinations))
    return {((row["hour"] - MONDAY) // HOUR, row["outcome"]): row["count"] for row in rows}


async def test_each_outcome_counts_in_the_hour_of_its_end(store: Store) -> None:
    assert MONDAY % HOUR == 0
    for now in (MONDAY, MONDAY + HOUR - 1, MONDAY + HOUR):
        await sent(store, now)
    assert await hours(store, MONDAY + DAY) == {
        (0, "delivered"): 2, (0, "retry"): 2, (1, "delivered"): 1, (1, "retry"): 1,
    }  # fmt: skip
    assert await hours(store, MONDAY + DAY, SLACK.key, since=MONDAY + HOUR) == {(1, "delivered"): 1}
    assert (await store.integrity(MONDAY)).miscounted.first == ()


async def test_interrupted_deliveries_count_in_the_hour_of_the_start(store: Store) -> None:
    await store.accept(webhook(alert("A", "critical"), group="A"), "default", b"{}", POLICY, MONDAY)
    assert isinstance(await store.claim(SLACK, POLICY, MONDAY), ClaimedDelivery)
    await store.start(MONDAY + 3 * HOUR)
    assert await hours(store, MONDAY + DAY) == {(3, "interrupted"): 1}
    assert (await store.integrity(MONDAY)).miscounted.first == ()


@pytest.mark.parametrize("age", [KEPT, KEPT + 2 * HOUR, KEPT + 30 * DAY])
async def test_old_hours_are_merged_and_stay_in_the_sums(store: Store, age: int) -> None:
    for hour in (0, 1, 24):
        await sent(store, MONDAY + hour * HOUR)
    async for _ in store.prune(Retention(), MONDAY + age):
        pass
    kept = [hour for hour in (0, 1, 24) if hour * HOUR >= age - KEPT]
    assert sorted({hour for hour, _ in await hours(store, MONDAY + DAY)}) == kept
    assert (await store.integrity(MONDAY)).miscounted.first == ()


async def test_a_wrong_hour_is_found_by_the_integrity_check(store: Store) -> None:
    await sent(store, MONDAY)
    await store.database.write(
        lambda c: c.exec_driver_sql("UPDATE delivery_hours SET count = 7 WHERE outcome = 'delivered'")
    )
    (found,) = (await store.integrity(MONDAY)).miscounted.first
    assert found == f"hours of deliveries {SLACK.key} delivered: counted 7, added up 1"
