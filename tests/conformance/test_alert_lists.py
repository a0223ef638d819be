"""The lists of what fires and of what waits: their order, their pages, their filters and their totals."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from router.decide import Severity
from router.decide.matchers import parse_matchers
from router.model import HOUR, MINUTE, Alert, Delivered, Millis, Rejected, Status, Webhook
from router.store import (
    Permit,
    Store,
    alert_filters,
    alert_list,
    firing_groups,
    group_contents,
    waiting_alerts,
)
from router.store.alert_filters import AlertFilter
from router.store.alert_list import AlertPage
from router.store.alert_rows import ListedAlert
from router.store.decision_list import DecisionFilter, ListedDecision
from router.store.firing_groups import GroupPage
from router.store.waiting_alerts import WaitingFilter, WaitingPage, fate_of
from tests.unit.core.world import DAILY, NIGHT, POLICY, SLACK, TEAM

SEVERITY = POLICY.severity
LIMITS = {"sorted": (3, 100), "walked": (4,), "walked in many pages": (100,)}
"""How many rows a page may have, by the way in which a list is read."""
T = TypeVar("T", AlertPage, GroupPage, WaitingPage)


def made(number: int, level: str, status: Status = Status.FIRING, **labels: str) -> Alert:
    everything = {
        "alertname": f"A{number % 3}", "severity": level, "instance": f"n{number}", "team": ("db", "web")[number % 2], **labels,
    }  # fmt: skip
    return Alert(f"f{number}", everything, {"summary": f"n{number} is down"}, status, NIGHT - number * MINUTE)


async def post(
    store: Store, *alerts: Alert, group: str = "g", source: str = "default", now: Millis = NIGHT
) -> None:
    hook = Webhook("hook", group, {"group": group}, "http://am.example", 0, alerts)
    await store.accept(hook, source, b"{}", POLICY, now)


@pytest.fixture
async def filled(store: Store) -> Store:
    """Groups of several levels, alerts that ended, alerts of another source, and an alert without a known level."""
    levels = ("info", "critical", "warning")
    everything = [(number, Status.FIRING) for number in range(24)]
    everything += [(number, Status.RESOLVED) for number in (1, 2, 3)]
    posts = (
        post(
            store, made(number, levels[number % 3], status), group=f"g{number % 5}",
            source=("default", "other")[number % 4 == 0],
        )
        for number, status in everything
    )  # fmt: skip
    await asyncio.gather(*posts)
    later = NIGHT + MINUTE
    await post(store, made(30, "odd"), made(31, "critical", note="x" * 70_000), group="g9", now=later)
    await post(store, made(4, "critical", Status.RESOLVED), group="g4", source="other", now=later)
    return store


@pytest.fixture(params=["sorted", "walked", "walked in many pages"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a list is read: few rows are sorted, many are walked through."""
    if request.param != "sorted":
        monkeypatch.setattr(alert_list, "MAX_FEW", 0)
        monkeypatch.setattr(waiting_alerts, "MAX_FEW", 0)
    if request.param == "walked in many pages":
        for module in (alert_list, firing_groups):
            monkeypatch.setattr(module, "_MAX_WINDOW", 4)
            monkeypatch.setattr(module, "_MAX_CHECKED", 3)
            monkeypatch.setattr(module, "_IDS_PER_QUERY", 2)
        monkeypatch.setattr(firing_groups, "_MAX_SKIPPED", 1)
        monkeypatch.setattr(waiting_alerts, "_MAX_WINDOW", 3)
        monkeypatch.setattr(waiting_alerts, "_ALERTS_PER_QUERY", 2)
        monkeypatch.setattr(alert_filters, "LARGE_COST", 2)
    return str(request.param)


async def whole(read: Callable[[Any], Awaitable[T]]) -> list[T]:
    """Return all pages. :param read: takes the position of a page"""
    pages = [await read(None)]
    while pages[-1].next is not None:
        pages.append(await read(pages[-1].next))
        assert len(pages) < 200
    return pages


def numbers(pages: Sequence[AlertPage]) -> list[str]:
    return [each.labels["instance"] for page in pages for each in page.alerts]


FILTERS = [
    AlertFilter(),
    AlertFilter(levels=("warning", "info")),
    AlertFilter(matchers=parse_matchers('team="db"')),
    AlertFilter(matchers=parse_matchers('alertname="A1",team="web"')),
    AlertFilter(matchers=parse_matchers('instance=~"n1.?"')),
    AlertFilter(matchers=parse_matchers('team!="db",alertname="A2"')),
    AlertFilter(search="N1"),
    AlertFilter(source="other"),
    AlertFilter(fingerprint="f12"),
    AlertFilter(destination=TEAM.key),
    AlertFilter(destination=SLACK.key, matchers=parse_matchers('team="db"')),
    AlertFilter(matchers=parse_matchers('team="nobody"')),
    AlertFilter(None, levels=("critical",)),
    AlertFilter(None, search="n2"),
    AlertFilter("resolved"),
    AlertFilter(None, since=NIGHT + MINUTE),
    AlertFilter(None, since=NIGHT, until=NIGHT + MINUTE - 1),
    AlertFilter(since=NIGHT + MINUTE, levels=("critical",)),
    AlertFilter("resolved", matchers=parse_matchers('team="web"')),
]


def expected(rows: Sequence[Any], which: AlertFilter) -> list[str]:
    """The instances that a list has to have, in its order, from all alerts of the database."""

    def fits(row: Any) -> bool:
        destinations = {each.destination for each in row.destinations}
        return (
            (which.status is None or row.status == which.status)
            and (not which.levels or row.level in which.levels)
            and (which.source is None or row.source == which.source)
            and (which.since is None or row.changed_at >= which.since)
            # All others fired before, although one of them has ended since.
            and (which.until is None or row.labels["instance"] not in {"n30", "n31"})
            and (which.fingerprint is None or row.fingerprint == which.fingerprint)
            and (which.destination is None or which.destination in destinations)
            and all(each.matches(row.labels) for each in which.matchers)
            and (
                not which.search
                or any(which.search.casefold() in each.casefold() for each in row.labels.values())
            )
        )

    def order(row: Any) -> tuple[bool, int, int]:
        is_firing = row.status == "firing"
        return not is_firing, SEVERITY.rank(row.level) if is_firing else 0, -row.id

    return [row.labels["instance"] for row in sorted(filter(fits, rows), key=order)]


async def test_a_list_has_what_fits_in_the_order_of_urgency(filled: Store, way: str) -> None:
    rows = [
        each
        for page in await whole(lambda at: alerts(filled, AlertFilter(None), at, 100))
        for each in page.alerts
    ]
    assert len(rows) == 26
    for which, limit in itertools.product(FILTERS, LIMITS[way]):
        wanted = expected(rows, which)
        pages = await whole(lambda at, which=which, limit=limit: alerts(filled, which, at, limit))  # type: ignore[misc]
        assert numbers(pages) == wanted, which
        assert all(page.total.count == len(wanted) for page in pages if page.total.is_exact), which
        assert all(page.is_partial or page.next is None or len(page.alerts) == limit for page in pages), which
        if way != "walked in many pages":
            assert all(page.total.is_exact and not page.is_partial for page in pages), which


async def alerts(store: Store, which: AlertFilter, at: Any, limit: int) -> AlertPage:
    page, _ = await store.pages.alerts(which, SEVERITY, at, limit)
    return page


async def groups(store: Store, which: AlertFilter, at: Any, limit: int) -> GroupPage:
    page, _ = await store.pages.alert_groups(which, SEVERITY, at, limit)
    return page


async def test_groups_stand_where_their_most_urgent_alert_is(filled: Store, way: str) -> None:
    everything = await whole(lambda at: alerts(filled, AlertFilter(), at, 100))
    rows = [each for page in everything for each in page.alerts]
    filters = [each for each in FILTERS if each.status == "firing"]
    for which, limit in itertools.product(filters, LIMITS[way]):
        best: dict[int, int] = {}
        for row in rows:
            if row.labels["instance"] in expected(rows, which):
                best[row.group.id] = min(best.get(row.group.id, 9), SEVERITY.rank(row.level))
        wanted = sorted(best, key=lambda group: (best[group], -group))
        pages = await whole(lambda at, which=which, limit=limit: groups(filled, which, at, limit))  # type: ignore[misc]
        assert [each.group.id for page in pages for each in page.groups] == wanted, which
        assert all(page.total.count == len(wanted) for page in pages if page.total.is_exact), which
        if way != "walked in many pages":
            assert all(page.total.is_exact and not page.is_partial for page in pages), which


async def test_a_group_says_how_many_alerts_fire_and_since_when(filled: Store) -> None:
    rows = (await alerts(filled, AlertFilter(), None, 100)).alerts
    for found in (await groups(filled, AlertFilter(), None, 100)).groups:
        own = [row for row in rows if row.group.id == found.group.id]
        counts = {level: sum(row.level == level for row in own) for level in SEVERITY.levels}
        assert dict(found.levels) == {level: count for level, count in counts.items() if count}
        starts = [row.starts_at for row in own if row.starts_at is not None]
        assert (found.since, found.newest) == (min(starts), max(starts))
        assert [each.id for each in found.alerts] == [row.id for row in own][
            : group_contents.ALERTS_PER_GROUP
        ]


async def waiting(store: Store, which: WaitingFilter, at: Any, limit: int) -> WaitingPage:
    page, _ = await store.pages.waiting_alerts(which, SEVERITY, at, limit)
    return page


WAITING = [
    WaitingFilter(), WaitingFilter(SLACK.key), WaitingFilter(fate="held"), WaitingFilter(fate="digest"),
    WaitingFilter(fate="inhibited"), WaitingFilter(TEAM.key, levels=("warning",)), WaitingFilter("nowhere"),
    WaitingFilter(fate="dead"), WaitingFilter(fate="pending"),
]  # fmt: skip


async def test_what_waits_is_listed_by_urgency(filled: Store, way: str) -> None:
    claimed = await filled.claim_several(Permit(SLACK, count=3), POLICY, NIGHT)
    for number, work in enumerate(claimed.works):
        outcome = Delivered({"ts": "1"}) if number else Rejected("http 400")
        await filled.record(work, outcome, POLICY, NIGHT, NIGHT)
    pages = await whole(lambda at: alerts(filled, AlertFilter(), at, 100))
    everything = [each for page in pages for each in page.alerts]
    for which, limit in itertools.product(WAITING, LIMITS[way]):
        wanted = list(waits(everything, which))
        found = await whole(lambda at, which=which, limit=limit: waiting(filled, which, at, limit))  # type: ignore[misc]
        assert [(each.alert.id, each.state.member) for page in found for each in page.rows] == wanted, which
        assert all(page.total.count == len(wanted) and page.total.is_exact for page in found), which
    summary = await filled.pages.waiting_summary()
    for fate in ("held", "digest", "dead", "pending", "inhibited"):
        count = len(list(waits(everything, WaitingFilter(fate=fate))))
        assert sum(each.count for each in summary.counts if each.fate == fate) == count


def waits(everything: Sequence[ListedAlert], which: WaitingFilter) -> Iterator[tuple[int, int]]:
    """The rows that the list of what waits has to have: alert and member."""
    for row in everything:
        for state in sorted(row.destinations, key=lambda each: -each.member):
            if (
                state.notified != "firing" and state.decision != "drop" and which.destination in {None, state.destination}
                and which.fate in {None, fate_of(state)} and (not which.levels or row.level in which.levels)
            ):  # fmt: skip
                yield row.id, state.member


async def test_a_summary_of_very_many_is_about_the_oldest(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await filled.pages.waiting_summary()).is_whole
    monkeypatch.setattr(waiting_alerts, "_MAX_SUMMARIZED", 4)
    # Not of the pages: they share a reading for a second.
    summary = await filled.database.read(waiting_alerts.waiting_summary)
    assert (sum(each.count for each in summary.counts), summary.is_whole) == (4, False)
    assert summary.total.is_exact


async def test_the_inhibitor_of_an_alert_is_named(store: Store) -> None:
    await post(store, made(3, "critical"), group="a")
    await post(store, made(6, "warning"), group="b")
    page, inhibitors = await store.pages.waiting_alerts(WaitingFilter(fate="inhibited"), SEVERITY, None, 10)
    (row,) = page.rows
    assert inhibitors[row.state.member].labels["instance"] == "n3"
    detail = await store.pages.alert(row.alert.id)
    assert detail is not None
    assert detail.inhibitors[row.state.member].level == "critical"
    assert not detail.mutes
    inhibitor = await store.pages.alert(inhibitors[row.state.member].id)
    assert inhibitor is not None
    assert inhibitor.mutes


async def test_an_alert_that_is_not_there_has_no_detail(store: Store) -> None:
    assert await store.pages.alert(4_711) is None


async def test_levels_that_are_gone_stand_after_the_default(filled: Store) -> None:
    severity = Severity(levels=("critical", "info"), default="critical")
    page, _ = await filled.pages.alerts(AlertFilter(), severity, None, 100)
    levels = [level for level, _ in itertools.groupby(each.level for each in page.alerts)]
    assert levels == ["critical", "warning", "info"]
    after, _ = await filled.pages.alerts(AlertFilter(), severity, ("firing gone", 5), 100)
    assert {each.level for each in after.alerts} == {"warning", "info"} - {"critical"} or after.alerts == ()


async def test_decisions_are_filtered_and_paged(filled: Store) -> None:
    async def found(which: DecisionFilter, limit: int) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        at: int | None = None
        while True:
            page = await filled.pages.newest_decisions(which, at, limit)
            rows += [(row.destination, row.fate) for row in page.rows]
            assert page.total.is_exact
            if page.next is None:
                assert page.total.count == len(rows)
                return rows
            at = page.next

    everything = await found(DecisionFilter(), 100)
    for limit in (1, 7):
        assert await found(DecisionFilter(), limit) == everything
        for destination, fate in (
            (TEAM.key, None),
            (None, "held"),
            (DAILY.key, "digest"),
            (SLACK.key, "held"),
        ):
            assert await found(DecisionFilter(destination, fate), limit) == [
                row for row in everything if destination in {None, row[0]} and fate in {None, row[1]}
            ]
    assert await found(DecisionFilter(since=NIGHT), 100) == everything
    assert await found(DecisionFilter(since=NIGHT + HOUR), 100) == []


async def test_a_decision_list_looks_at_a_bounded_number(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.decision_list._MAX_WINDOW", 5)
    which, partial = DecisionFilter(DAILY.key), 0
    rows: list[ListedDecision] = []
    page = await filled.pages.newest_decisions(which, None, 100)
    while True:
        rows += page.rows
        partial += page.is_partial
        if page.next is None:
            break
        page = await filled.pages.newest_decisions(which, page.next, 100)
    assert partial > 2
    assert {row.destination for row in rows} == {DAILY.key}
    assert len(rows) == page.total.count


async def test_an_alert_has_a_bounded_number_of_destinations(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.alert_rows.MAX_DESTINATIONS", 2)
    await post(store, replace(made(1, "critical"), labels={"severity": "critical"}))
    page = await alerts(store, AlertFilter(), None, 10)
    (row,) = page.alerts
    assert (len(row.destinations), row.destinations_left_out) == (2, 1)
