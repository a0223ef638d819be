"""Each filter of the list of deliveries finds the same as a look at all of them, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest

from router.core.rows import FAILED_OUTCOMES
from router.model import DAY, HOUR, Broken, Delivered, Outcome, Rejected, Retry
from router.store import ClaimedDelivery, Store, delivery_list
from router.store.delivery_list import DeliveryFilter
from tests.unit.core.world import MONDAY, PAGER, POLICY, SLACK, alert, webhook

Row = dict[str, Any]
OUTCOMES: tuple[Outcome, ...] = (
    Delivered({"ts": "1"}), Retry("http 503"), Rejected("http 400"), Broken("token_revoked"), Delivered({"ts": "2"}),
)  # fmt: skip
FILTERS: dict[str, tuple[DeliveryFilter, Callable[[Row], bool]]] = {
    "all": (DeliveryFilter(), lambda row: True),
    "failed": (DeliveryFilter(outcomes=FAILED_OUTCOMES), lambda row: row["outcome"] in FAILED_OUTCOMES),
    "delivered": (DeliveryFilter(outcomes=("delivered",)), lambda row: row["outcome"] == "delivered"),
    "delivered or under way": (
        DeliveryFilter(outcomes=("delivered", "under way")),
        lambda row: row["outcome"] in {"delivered", None},
    ),
    "a destination": (DeliveryFilter((SLACK.key,)), lambda row: row["destination"] == SLACK.key),
    "failed at two destinations": (
        DeliveryFilter((SLACK.key, PAGER.key), ("rejected", "retry")),
        lambda row: row["outcome"] in {"rejected", "retry"},
    ),
    "delivered at a destination since a time": (
        DeliveryFilter((PAGER.key,), ("delivered",), since=MONDAY + 3 * HOUR),
        lambda row: (
            row["destination"] == PAGER.key
            and row["outcome"] == "delivered"
            and row["started_at"] >= MONDAY + 3 * HOUR
        ),
    ),
    "a period": (
        DeliveryFilter(since=MONDAY + 2 * HOUR, until=MONDAY + 5 * HOUR),
        lambda row: MONDAY + 2 * HOUR <= row["started_at"] < MONDAY + 5 * HOUR,
    ),
    "before everything": (DeliveryFilter(until=MONDAY), lambda row: False),
    "after everything": (DeliveryFilter(since=MONDAY + DAY), lambda row: False),
    "another destination": (DeliveryFilter(("slack:NONE",), ("delivered", "retry")), lambda row: False),
}


@pytest.fixture
async def filled(store: Store) -> Store:
    """Two deliveries each hour with all outcomes; the last ones are under way."""
    for hour in range(8):
        now = MONDAY + hour * HOUR
        body = webhook(alert(f"A{hour}", "critical"), group=f"A{hour}")
        await store.accept(body, "default", b"{}", POLICY, now)
        for number, destination in enumerate((SLACK, PAGER)):
            work = await store.claim(destination, POLICY, now)
            assert isinstance(work, ClaimedDelivery)
            outcome = OUTCOMES[(hour + number) % len(OUTCOMES)]
            if hour < 7:
                await store.record(work, outcome, POLICY, now, now + DAY)
    return store


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("scanned", [3, 2_000])
async def test_each_filter_finds_what_fits_over_all_pages(
    name: str, scanned: int, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_list, "_MAX_SCANNED", scanned)
    wanted, fits = FILTERS[name]
    everything = (await filled.pages.deliveries(limit=500)).rows
    assert len(everything) == 16
    expected = [row["id"] for row in everything if fits(row)]
    found: list[int] = []
    before = None
    while True:
        page = await filled.pages.deliveries(wanted, before, 2)
        assert (page.total.count, page.total.is_exact) == (len(expected), True)
        found += [row["id"] for row in page.rows]
        assert len(page.rows) <= 2
        if page.before is None:
            break
        before = page.before
    assert found == expected


async def test_the_deliveries_of_an_alert_and_of_a_conversation(filled: Store) -> None:
    everything = (await filled.pages.deliveries(limit=500)).rows
    details, _ = await filled.pages.delivery(everything[3]["id"], 10)
    assert details is not None
    (found,) = details.alerts
    assert {
        row["topic"].names for row in (await filled.pages.deliveries(DeliveryFilter(alert=found["id"]))).rows
    } == {(found["labels"]["alertname"],)}
    of_it = await filled.pages.deliveries(DeliveryFilter(conversation=details.row["conversation_id"]))
    assert [row["id"] for row in of_it.rows] == [details.row["id"]]
    assert (await filled.pages.deliveries(DeliveryFilter(alert=999))).rows == []
    assert await filled.pages.delivery(999_999, 10) == (None, None)
