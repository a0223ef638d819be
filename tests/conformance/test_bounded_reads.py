"""The work of a query while the router serves grows neither with the history nor with what is due."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import sqlalchemy as sa

from router.core.claimed_delivery import NO_STORM, Share
from router.core.rows import FAILED_OUTCOMES
from router.core.upcoming import NEXT_DUE, Wanted
from router.decide.matchers import parse_matchers
from router.model import DAY, MINUTE, SECOND, Delivered, Destination, Status
from router.store import (
    ROWS_OF_LISTS,
    Limits,
    Permit,
    Store,
    alert_list,
    decision_list,
    delivery_list,
    destination_history,
    firing_groups,
    totals,
    waiting_alerts,
)
from router.store.alert_answers import read_progress
from router.store.alert_filters import AlertFilter
from router.store.backend import open_backend
from router.store.decision_list import DecisionFilter
from router.store.delivery_list import DeliveryFilter
from router.store.digest_reports import sent_slots
from router.store.queries import QUERIES
from router.store.replicas import has_vanished
from router.store.waiting_alerts import WaitingFilter
from tests.conformance.work import counted
from tests.unit.core.world import NIGHT, PAGER, PER_ALERT, POLICY, SLACK, TEAM, alert, webhook

MOST = 100
"""The bound of counts in this test."""
FEW, MANY = 70, 200
"""Groups of each kind: enough to fill each list, and many more."""
NOW = NIGHT + MINUTE
KEYS = [each.key for each in (SLACK, PAGER, PER_ALERT, TEAM)]
STORM = Limits(above=60, every=5 * SECOND)
Reading = Callable[[Store], Awaitable[object]]
READINGS: dict[str, Reading] = {
    "status": lambda store: store.pages.status(),
    "status of a tenant": lambda store: store.pages.status_of_tenant("shop"),
    "objectives": lambda store: store.pages.objectives((NOW - DAY, NOW), NOW - DAY, NOW - DAY),
    "days of objectives": lambda store: store.pages.objective_days(NOW - DAY, None),
    "lanes": lambda store: store.pages.lanes(NOW),
    "lanes, and destinations with an attempt": lambda store: store.pages.lanes_and_used_destinations(NOW),
    "the last attempts of destinations": lambda store: store.pages.destination_histories(KEYS),
    "the last attempts of one destination": lambda store: store.pages.destination_histories(KEYS[:1]),
    "ends that were not sent": lambda store: store.pages.unsent_ends(KEYS),
    "trouble": lambda store: store.pages.troubles(),
    "status and lanes": lambda store: store.pages.status_and_lanes(NOW),
    "alerts of changes": lambda store: store.pages.alerts_of_changes([2**40, 2**41]),
    "tests of receivers": lambda store: store.tests.all(),
    "how the notifications of an alert went": lambda store: store.database.read(
        lambda c: read_progress(c, "default", alert("critical1", "critical").identity, 0)
    ),
    "waiting": lambda store: store.pages.waiting(),
    "alerts": lambda store: store.pages.alerts(AlertFilter(), POLICY.severity, None, 20),
    "alerts of a level": lambda store: store.pages.alerts(
        AlertFilter(levels=("warning",)), POLICY.severity, None, 20
    ),
    "alerts that have ended": lambda store: store.pages.alerts(
        AlertFilter("resolved"), POLICY.severity, None, 20
    ),
    "alerts with a label": lambda store: store.pages.alerts(
        AlertFilter(matchers=parse_matchers('severity="warning"')), POLICY.severity, None, 20
    ),
    "alerts by a regular expression": lambda store: store.pages.alerts(
        AlertFilter(matchers=parse_matchers('severity=~"warn.*"')), POLICY.severity, None, 20
    ),
    "alerts of a destination": lambda store: store.pages.alerts(
        AlertFilter(destination=SLACK.key), POLICY.severity, None, 20
    ),
    "groups": lambda store: store.pages.alert_groups(AlertFilter(), POLICY.severity, None, 10),
    "groups with a label": lambda store: store.pages.alert_groups(
        AlertFilter(matchers=parse_matchers('severity=~"warn.*"')), POLICY.severity, None, 10
    ),
    "what waits": lambda store: store.pages.waiting_alerts(WaitingFilter(), POLICY.severity, None, 20),
    "what waits at a destination": lambda store: store.pages.waiting_alerts(
        WaitingFilter(TEAM.key), POLICY.severity, None, 20
    ),
    "what waits in numbers": lambda store: store.pages.waiting_summary(),
    "decisions": lambda store: store.pages.newest_decisions(DecisionFilter(), None, 20),
    "decisions of a destination": lambda store: store.pages.newest_decisions(
        DecisionFilter(TEAM.key), None, 20
    ),
    "ledger": lambda store: store.pages.decisions(),
    **{
        f"deliveries: {name}": lambda store, wanted=wanted: store.pages.deliveries(wanted)  # type: ignore[misc]
        for name, wanted in {
            "all": DeliveryFilter(),
            "of destinations": DeliveryFilter(destinations=(SLACK.key, PAGER.key)),
            "delivered": DeliveryFilter(outcomes=("delivered",)),
            "failed": DeliveryFilter(outcomes=FAILED_OUTCOMES),
            "failed at a destination": DeliveryFilter((SLACK.key,), ("retry", "under way")),
            "of an alert": DeliveryFilter(alert=1),
            "of a conversation": DeliveryFilter(conversation=1),
            "of a time": DeliveryFilter(since=NIGHT, until=NOW),
        }.items()
    },
    "a delivery": lambda store: store.pages.delivery(40, 50),
    "hours of deliveries": lambda store: store.pages.delivery_hours(0, NOW),
    "dead letters": lambda store: store.pages.dead_letters(),
    "dead letters of a destination": lambda store: store.pages.dead_letters((TEAM.key,)),
    "quarantine": lambda store: store.pages.quarantined(limit=20),
    "quarantine of a source": lambda store: store.pages.quarantined("default", limit=20),
    "quarantine, another page": lambda store: store.pages.quarantined("default", before=2**40, limit=20),
    "loads of routes.yaml": lambda store: store.pages.loads(2**40, 20),
    "a load of routes.yaml": lambda store: store.pages.load(2**40),
    "files that were in force": lambda store: store.pages.load_of("0" * 64),
    "how a quarantined body begins": lambda store: store.pages.body_begin(2**40),
    **{f"how many: {name}": lambda store, name=name: store.pages.total(name) for name in ROWS_OF_LISTS},  # type: ignore[misc]
    "slots of digests": lambda store: store.pages.open_and_latest_slots([SLACK.key], 3),
    "sent digests": lambda store: store.database.read(
        lambda connection: sent_slots(connection, SLACK.key, None, 20)
    ),
    "the sources of inhibition keys": lambda store: store.pages.firing_sources(
        [
            (key.text, False)
            for key in POLICY.inhibition.as_source({"severity": "critical", "alertname": "critical0"})
        ]
    ),
    "sessions that have vanished": lambda store: store.database.read(has_vanished),
    "what is next at a lane": lambda store: store.claim(PAGER, POLICY, NOW),
    **{
        f"what is due next: {name}": lambda store, wanted=wanted: store.database.read(  # type: ignore[misc]
            lambda connection: QUERIES[NEXT_DUE](connection, [wanted])
        )
        for name, wanted in {
            "all": Wanted(SLACK.key, NO_STORM, 8),
            "for long": Wanted(SLACK.key, NO_STORM, 8, NIGHT),
            "beside a storm": Wanted(SLACK.key, Share(2**40), 8),
        }.items()
    },
    "the next opening": lambda store: store.presence.next_opening(NOW),
    "whether there is a storm": lambda store: store.claim(TEAM, POLICY, NOW, limits=STORM),
    "when something will be due, where much is": lambda store: store.database.read(
        lambda connection: QUERIES["next time"](connection, [(SLACK.key, NOW)])
    ),
    "when something is due at a lane": lambda store: store.claim(SLACK, POLICY, NIGHT - SECOND),
}


async def filled(store: Store, count: int) -> None:
    """Add criticals that are delivered and over, some that are due, held warnings, and quarantined bodies."""

    async def post(level: str, status: Status, first: int = 0) -> None:
        bodies = (
            webhook(alert(f"{level}{number}", level, status), group=f"{level}{number}")
            for number in range(first, first + count)
        )
        await asyncio.gather(*(store.accept(each, "default", b"{}", POLICY, NIGHT) for each in bodies))

    async def deliver(destination: Destination) -> None:
        while True:
            works = await store.claim_several(Permit(destination, count=count), POLICY, NOW)
            if not works.works:
                return
            outcome = Delivered({"ts": "1"})
            await asyncio.gather(*(store.record(each, outcome, POLICY, NOW, NOW) for each in works.works))

    for status in Status:
        await post("critical", status)
        for destination in (SLACK, PAGER, PER_ALERT):
            await deliver(destination)
    await post("warning", Status.FIRING)
    await post("critical", Status.FIRING, count)
    await asyncio.gather(*(store.quarantine(b"x", "default", "r", NOW) for _ in range(count)))
    for number in range(count):
        await store.loads.record("start", f"{number:064x}", [], NOW)


async def analyzed(url: str) -> None:
    """Let the database collect statistics. A server does so by itself after a while; SQLite never does."""
    database = open_backend(url)
    with database.engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE"))
    database.close()


@pytest.fixture
def _bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_COUNTED", MOST)
    monkeypatch.setattr(destination_history, "MAX_COUNTED", FEW // 2)
    for window in ("SECOND_WINDOW", "LARGE_WINDOW"):
        monkeypatch.setattr(destination_history, window, FEW // 2)
    monkeypatch.setattr(delivery_list, "_MAX_SCANNED", MOST)
    for module in (totals, alert_list, firing_groups, waiting_alerts, decision_list):
        monkeypatch.setattr(module, "MAX_COUNTED", MOST)
    for name in ("MAX_FEW", "_MAX_WINDOW", "_MAX_CHECKED", "_MAX_COUNT_WINDOW", "_MAX_COUNT_CHECKED"):
        monkeypatch.setattr(alert_list, name, 60)
    for name in (
        "_MAX_SKIPPED",
        "_MAX_COUNT_STEPS",
        "_MAX_WINDOW",
        "_MAX_CHECKED",
        "_MAX_COUNT_WINDOW",
        "_MAX_COUNT_CHECKED",
    ):
        monkeypatch.setattr(firing_groups, name, 60)
    monkeypatch.setattr(waiting_alerts, "MAX_FEW", 60)
    monkeypatch.setattr(waiting_alerts, "_MAX_SUMMARIZED", 60)
    monkeypatch.setattr(waiting_alerts, "_MAX_WINDOW", 60)
    monkeypatch.setattr(decision_list, "_MAX_WINDOW", 60)


@pytest.fixture
async def grown(new_url: str) -> AsyncIterator[Store]:
    """PostgreSQL reads a table of some hundred rows whole sooner than by its index. Here its statistics say that the table is large."""
    plans = "%20".join(
        f"-c%20enable_{each}%3Doff" for each in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "sort")
    )
    store = await Store.open(f"{new_url}%20{plans}" if new_url.startswith("postgresql") else new_url)
    yield store
    await store.close()


@pytest.mark.usefixtures("_bound")
async def test_the_work_of_a_read_does_not_grow_with_the_rows(grown: Store, new_url: str) -> None:
    amounts: list[dict[str, int]] = []
    for count in (FEW, MANY):
        await filled(grown, count)
        await analyzed(new_url)
        found = {}
        for name, read in READINGS.items():
            with counted() as work:
                await read(grown)
            found[name] = work.done
        amounts.append(found)
    few, many = amounts
    more = {name: (few[name], many[name]) for name in READINGS if many[name] > 1.5 * few[name] + 100}
    assert more == {}
