"""Whatever happens, in whatever order: the books balance, and every destination ends up with the truth."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from router.decide import Outside, Policy, Route, Severity
from router.decide.hours import Hours, Interval, NamedInterval, Schedule
from router.decide.inhibition import Inhibition, Rule
from router.decide.matchers import parse_matchers
from router.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Alert,
    Broken,
    Delivered,
    Destination,
    Millis,
    Outcome,
    Rejected,
    Retry,
    Status,
    Webhook,
)
from router.store import books
from router.store.accept import Receipt, accept
from router.store.adopt import Adoption, adopt
from router.store.conversation import EMPTY
from router.store.dead import retry
from router.store.digests import open_slots
from router.store.record import record
from router.store.schema import conversations, metadata
from router.store.truth import settle_doubts
from router.store.work import Idle, Work, claim
from router.store.writer import Statement, Transaction

SLACK = Destination("slack:C0CRITICAL", "slack", None)
PAGER = Destination("pagerduty:one", "pagerduty", None)
PER_ALERT = Destination("pagerduty:each", "pagerduty", None, per_alert=True)
TEAM = Destination("slack:C0WARNINGS", "slack", None)
DAILY = Destination("digest:daily", "digest", None, digest=True)
ALL = (SLACK, PAGER, PER_ALERT, TEAM, DAILY)

OFFICE = NamedInterval("office", (Interval(times=((9 * 60, 18 * 60),)),))
POLICY = Policy(
    severity=Severity(),
    receivers={"oncall": (SLACK, PAGER, PER_ALERT), "team": (TEAM,), "daily": (DAILY,)},
    root=Route(
        "route",
        "team",
        routes=(
            Route("route.routes[0]", "oncall", severity="critical"),
            Route(
                "route.routes[1]",
                "team",
                severity="warning",
                hours=Hours(active=(OFFICE,)),
                outside=Outside.HOLD,
            ),
            Route("route.routes[2]", "daily", severity="info"),
        ),
    ),
    schedules={"digest:daily": Schedule(8 * 60)},
    inhibition=Inhibition(
        (
            Rule(
                parse_matchers('severity="critical"'),
                parse_matchers('severity=~"warning|info"'),
                ("alertname",),
                "inhibit_rules[0]",
            ),
        )
    ),
)


def with_repeat(every: Millis | None) -> Policy:
    """The policy, with every route's repeats told again like this."""
    routes = tuple(replace(route, repeat=every) for route in POLICY.root.routes)
    return replace(POLICY, root=replace(POLICY.root, routes=routes, repeat=every))


# The same, without the team's hours; and one that tells all to the team alone, without digests.
RULES = (
    POLICY,
    replace(
        POLICY,
        root=replace(POLICY.root, routes=tuple(replace(each, hours=None) for each in POLICY.root.routes)),
        fingerprint="always open",
    ),
    replace(
        POLICY,
        receivers={"team": (TEAM,)},
        root=replace(POLICY.root, routes=()),
        schedules={},
        fingerprint="team alone",
    ),
)
MONDAY: Millis = 1_763_337_600_000  # Mon 2025-11-17 00:00 UTC
NOON = MONDAY + 12 * HOUR
NIGHT = MONDAY + 22 * HOUR


def alert(name: str, level: str, status: Status = Status.FIRING, starts_at: Millis = MONDAY) -> Alert:
    return Alert(f"{name}-{level}", {"alertname": name, "severity": level}, {}, status, starts_at)


def webhook(*alerts: Alert, group: str = "g", truncated: int = 0, peer: str = "http://am-1") -> Webhook:
    return Webhook("hook", group, {"group": group}, peer, truncated, alerts)


_EMPTY = Statement(sa.select(conversations).where(EMPTY))


@dataclass
class Provider:
    """What one destination believes: by conversation token and episode, the alerts it shows as firing."""

    firing: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, work: Work) -> None:
        conversation = work.conversation
        shown = {each.alert.fingerprint for each in conversation.firing}
        self.firing[conversation.token, conversation.episode] = shown
        self.told += [
            (each.alert.fingerprint, each.alert.status) for each in conversation.alerts if each.news
        ]
        if conversation.digest is not None:
            self.told += [(line.alert.fingerprint, "digest") for line in conversation.digest.firing]

    @property
    def all_firing(self) -> set[str]:
        return set().union(*self.firing.values())


class World:
    """The store's transactions on a database in memory, with providers that remember what they heard."""

    def __init__(self, connection: sqlite3.Connection, now: Millis = NOON, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.tx = Transaction(connection, SQLiteDialect_pysqlite(paramstyle="qmark"))
        self.now = now
        self.providers = {each.key: Provider() for each in ALL}
        self.accepted = 0
        open_slots(self.tx, policy, now)

    def post(
        self, *alerts: Alert, group: str = "g", truncated: int = 0, peer: str = "http://am-1"
    ) -> Receipt:
        self.accepted += len(alerts)
        body = webhook(*alerts, group=group, truncated=truncated, peer=peer)
        return accept(self.tx, body, "default", b"{}", self.policy, self.now)

    def begin(self, destination: Destination) -> Work | Idle:
        return claim(self.tx, destination.key, self.policy, self.now, quiet_digest=False)

    def finish(self, work: Work, outcome: Outcome, *, heard: bool = False) -> None:
        if isinstance(outcome, Delivered) or heard:
            self.providers[work.conversation.destination].hear(work)
        record(self.tx, work, outcome, self.policy, self.now, self.now)

    def settle_doubts(self) -> None:
        receipts, _ = settle_doubts(self.tx, self.policy, self.now)
        self.accepted += sum(len(each.changes) for each in receipts.values())

    def deliver(self, *destinations: Destination) -> None:
        """Everything that is due, everywhere."""
        self.settle_doubts()
        for destination in destinations or ALL:
            for _ in range(100):
                work = self.begin(destination)
                if isinstance(work, Idle):
                    break
                self.finish(work, Delivered({"ts": "1"}))
            else:
                pytest.fail(f"{destination.key} never comes to rest")

    def letters(self) -> list[int]:
        rows = self.tx._connection.execute("SELECT id FROM dead_letters WHERE state = 'dead' ORDER BY id")
        return [row[0] for row in rows]

    def reload(self, policy: Policy) -> None:
        self.policy = policy
        adopt(self.tx, Adoption(policy), self.now)

    def retry_the_dead(self) -> None:
        for letter in self.letters():
            assert retry(self.tx, letter, self.policy, self.now) is not None

    def fates(self, destination: Destination) -> list[str]:
        rows = self.tx._connection.execute(
            "SELECT fate FROM fates WHERE destination = ? ORDER BY id", (destination.key,)
        )
        return [row[0] for row in rows]

    def assert_balanced(self) -> None:
        connection = self.tx._connection
        owed = connection.execute("SELECT coalesce(sum(destinations), 0), count(*) FROM changes").fetchone()
        fates = connection.execute("SELECT count(*) FROM fates").fetchone()[0]
        assert owed[1] == self.accepted
        assert owed[0] == fates
        doubled = connection.execute(
            "SELECT change_id, destination FROM fates GROUP BY change_id, destination HAVING count(*) > 1"
        ).fetchall()
        assert not [tuple(row) for row in doubled]
        assert not connection.execute("SELECT id FROM changes WHERE destinations = 0").fetchall()
        forgotten = connection.execute(
            "SELECT f.id FROM fates f LEFT JOIN members m ON m.id = f.member_id"
            " LEFT JOIN conversations c ON c.id = m.conversation_id"
            " WHERE f.fate IN ('pending', 'held', 'digest') AND (c.state != 'open' OR c.due_at IS NULL OR c.id IS NULL)"
        ).fetchall()
        assert not [tuple(row) for row in forgotten]
        assert not [tuple(row) for row in self.tx.all(_EMPTY)]


@contextmanager
def a_world(now: Millis = NOON, policy: Policy = POLICY) -> Iterator[World]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    for table in metadata.sorted_tables:
        connection.execute(str(sa.schema.CreateTable(table).compile(dialect=SQLiteDialect_pysqlite())))
    try:
        yield World(connection, now, policy)
    finally:
        connection.close()


@pytest.fixture
def world() -> Iterator[World]:
    with a_world() as world:
        yield world


def test_a_critical_is_told_and_its_end_too(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].told == [("Down-critical", "firing"), ("Down-critical", "resolved")]
    assert world.fates(PAGER) == ["delivered", "delivered"]
    world.assert_balanced()


def test_every_attempt_at_the_same_state_has_the_same_version(world: World) -> None:
    """Channels tell by it what they have told already."""
    world.post(alert("Down", "critical"), alert("Slow", "critical"))
    versions = []
    for _ in range(3):
        work = world.begin(SLACK)
        assert isinstance(work, Work)
        versions.append(work.conversation.version)
        world.finish(work, Retry("no answer", ambiguous=True))
    assert len(set(versions)) == 1


def test_a_repeat_of_what_was_told_is_delivered_at_once_and_not_told_again(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical"))
    assert isinstance(world.begin(SLACK), Idle)
    assert world.fates(SLACK) == ["delivered", "delivered"]


def test_an_alert_that_ended_before_anyone_was_told_is_moot(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].told == []
    assert world.fates(PAGER) == ["moot", "moot"]
    world.assert_balanced()


def test_a_held_warning_comes_out_at_opening_once(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.deliver()
    assert world.fates(TEAM) == ["held"]
    idle = world.begin(TEAM)
    assert idle == Idle(MONDAY + DAY + 9 * HOUR)
    world.now = MONDAY + DAY + 9 * HOUR
    world.deliver()
    world.deliver()
    assert world.providers[TEAM.key].told == [("Disk-warning", "firing")]
    assert world.fates(TEAM) == ["delivered"]


def test_a_held_warning_that_ends_at_night_is_moot(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.now += HOUR
    world.post(alert("Disk", "warning", Status.RESOLVED))
    world.now = MONDAY + DAY + 10 * HOUR
    world.deliver()
    assert world.providers[TEAM.key].told == []
    assert world.fates(TEAM) == ["moot", "moot"]


def test_an_end_is_told_at_any_hour_to_whom_the_alert_was_told(world: World) -> None:
    world.post(alert("Disk", "warning"))
    world.now += 10 * SECOND
    world.deliver()
    world.now = NIGHT
    world.post(alert("Disk", "warning", Status.RESOLVED))
    world.deliver()
    assert world.providers[TEAM.key].told[-1] == ("Disk-warning", "resolved")


def test_an_inhibited_warning_is_told_after_its_inhibitor_ends(world: World) -> None:
    world.post(alert("Down", "critical"), group="c")
    world.post(alert("Down", "warning"), group="w")
    world.now += MINUTE
    world.deliver()
    assert world.fates(TEAM) == ["inhibited"]
    world.post(alert("Down", "critical", Status.RESOLVED), group="c")
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].told == [("Down-warning", "firing")]
    assert world.fates(TEAM) == ["delivered"]


def test_an_inhibitor_that_arrives_just_after_its_target_still_counts(world: World) -> None:
    world.post(alert("Down", "warning"), group="w")
    world.deliver()
    world.now += 2 * SECOND
    world.post(alert("Down", "critical"), group="c")
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].told == []
    assert world.fates(TEAM) == ["inhibited"]


def test_an_end_that_comes_while_the_first_telling_is_under_way_is_told(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.begin(PAGER)
    assert isinstance(work, Work)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.finish(work, Delivered())
    world.deliver()
    assert world.providers[PAGER.key].told == [("Down-critical", "firing"), ("Down-critical", "resolved")]
    world.assert_balanced()


def test_a_lost_answer_counts_as_maybe_told_so_its_end_is_told(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.begin(PAGER)
    assert isinstance(work, Work)
    world.finish(work, Retry("timeout", ambiguous=True), heard=True)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].all_firing == set()
    assert world.fates(PAGER) == ["delivered", "delivered"]


def test_a_refusal_is_dead_and_a_repeat_tries_again(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.begin(PAGER)
    assert isinstance(work, Work)
    world.finish(work, Rejected("http 400"))
    assert isinstance(world.begin(PAGER), Idle)
    assert world.fates(PAGER) == ["dead"]
    world.post(alert("Down", "critical"))
    world.deliver()
    assert world.fates(PAGER) == ["dead", "delivered"]


def test_a_group_that_fires_anew_after_its_end_starts_another_episode(world: World) -> None:
    for starts_at in (MONDAY, MONDAY + HOUR):
        world.post(alert("Down", "critical", starts_at=starts_at))
        world.deliver()
        world.post(alert("Down", "critical", Status.RESOLVED, starts_at=starts_at))
        world.deliver()
    assert [episode for _, episode in world.providers[SLACK.key].firing] == [1, 2]


def test_a_truncated_group_is_never_over(world: World) -> None:
    world.post(alert("Down", "critical"), truncated=3)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=3)
    work = world.begin(PAGER)
    assert isinstance(work, Work)
    assert not work.conversation.over


def test_a_group_kept_open_by_hidden_alerts_ends_when_alertmanager_shows_it_whole(world: World) -> None:
    world.post(alert("Down", "critical"), truncated=3)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=3)
    world.deliver()
    assert isinstance(world.begin(PAGER), Idle)
    receipt = world.post(alert("Down", "critical", Status.RESOLVED), truncated=0)
    assert PAGER.key in receipt.wake
    work = world.begin(PAGER)
    assert isinstance(work, Work)
    assert work.conversation.over
    world.finish(work, Delivered())
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=0)
    assert isinstance(world.begin(PAGER), Idle)
    world.assert_balanced()


def test_an_empty_digest_is_sent_as_all_quiet_when_asked_for(world: World) -> None:
    world.now = MONDAY + DAY + 8 * HOUR
    work = claim(world.tx, DAILY.key, POLICY, world.now, quiet_digest=True)
    assert isinstance(work, Work)
    assert work.conversation.digest is not None
    assert work.conversation.digest.empty
    world.finish(work, Delivered())
    assert world.begin(DAILY) == Idle(MONDAY + 2 * DAY + 8 * HOUR)


def test_a_digest_that_comes_days_late_covers_all_of_them_and_goes_out_once(world: World) -> None:
    world.post(alert("Cert", "info"))
    world.now = MONDAY + 4 * DAY
    work = world.begin(DAILY)
    assert isinstance(work, Work)
    assert work.conversation.digest is not None
    assert work.conversation.digest.since == MONDAY + 8 * HOUR
    assert work.conversation.digest.until == MONDAY + 3 * DAY + 8 * HOUR
    world.finish(work, Delivered())
    assert world.begin(DAILY) == Idle(MONDAY + 4 * DAY + 8 * HOUR)


def test_an_alert_of_two_groups_is_ended_in_both(world: World) -> None:
    world.post(alert("Down", "critical"), group="a")
    world.post(alert("Down", "critical"), group="b")
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), group="a")
    world.deliver()
    assert world.providers[SLACK.key].all_firing == set()
    world.assert_balanced()


def test_the_peers_of_a_pair_tell_one_change(world: World) -> None:
    for peer in ("http://am-1", "http://am-2"):
        world.post(alert("Down", "critical"), peer=peer)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), peer="http://am-1")
    world.deliver()
    world.now += 15 * SECOND
    world.post(alert("Down", "critical"), peer="http://am-2")
    world.post(alert("Down", "critical", Status.RESOLVED), peer="http://am-2")
    world.deliver()
    assert world.providers[SLACK.key].told == [("Down-critical", "firing"), ("Down-critical", "resolved")]


def test_a_digest_goes_out_once_a_slot_and_carries_what_still_fires(world: World) -> None:
    world.post(alert("Cert", "info"), alert("Backup", "info"))
    world.post(alert("Backup", "info", Status.RESOLVED))
    slot = MONDAY + DAY + 8 * HOUR
    assert world.begin(DAILY) == Idle(slot)
    world.now = slot
    work = world.begin(DAILY)
    assert isinstance(work, Work)
    digest = work.conversation.digest
    assert digest is not None
    assert [line.alert.fingerprint for line in digest.firing] == ["Cert-info"]
    assert [line.alert.fingerprint for line in digest.ended] == ["Backup-info"]
    world.finish(work, Delivered())
    assert world.begin(DAILY) == Idle(slot + DAY)
    assert world.fates(DAILY) == ["delivered"] * 3
    world.now = slot + DAY
    again = world.begin(DAILY)
    assert isinstance(again, Work)
    assert again.conversation.digest is not None
    assert [line.alert.fingerprint for line in again.conversation.digest.firing] == ["Cert-info"]
    assert again.conversation.token != work.conversation.token


def test_an_empty_digest_is_skipped(world: World) -> None:
    world.now = MONDAY + DAY + 8 * HOUR
    assert world.begin(DAILY) == Idle(MONDAY + 2 * DAY + 8 * HOUR)


def test_a_digest_names_what_is_held_and_what_was_moot(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"), alert("Gone", "warning"))
    world.now += HOUR
    world.post(alert("Gone", "warning", Status.RESOLVED))
    world.now = MONDAY + DAY + 8 * HOUR
    work = world.begin(DAILY)
    assert isinstance(work, Work)
    assert work.conversation.digest is not None
    assert [line.alert.fingerprint for line in work.conversation.digest.held] == ["Disk-warning"]
    assert [line.alert.fingerprint for line in work.conversation.digest.moot] == ["Gone-warning"]


_alerts = st.tuples(st.sampled_from("AB"), st.sampled_from(["critical", "warning", "info"]))
_steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("post"), st.lists(_alerts, min_size=1, max_size=3, unique=True), st.sampled_from("gh")
        ),
        st.tuples(
            st.just("end"), st.lists(_alerts, min_size=1, max_size=3, unique=True), st.sampled_from("gh")
        ),
        st.tuples(st.just("wait"), st.sampled_from([2 * SECOND, 10 * SECOND, HOUR, 8 * HOUR]), st.none()),
        st.tuples(st.just("begin"), st.sampled_from(range(len(ALL))), st.none()),
        st.tuples(
            st.just("finish"),
            st.sampled_from(range(len(ALL))),
            st.sampled_from(
                [
                    "delivered",
                    "failed",
                    "lost answer",
                    "lost request",
                    "crash before",
                    "crash after",
                    "broken",
                    "given up",
                    "given up in doubt",
                ]
            ),
        ),
        st.tuples(st.just("retry"), st.none(), st.none()),
        st.tuples(st.just("reload"), st.sampled_from(range(3)), st.none()),
    ),
    max_size=40,
)


class History:
    """Plays steps on a world, and remembers what is true."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.firing: set[str] = set()
        self._starts: dict[str, Millis] = {}
        self._under_way: dict[str, Work] = {}

    def post(self, told: list[tuple[str, str]], group: str, status: Status) -> None:
        alerts = []
        for name, level in told:
            key = f"{name}-{level}"
            if status is Status.FIRING and key not in self.firing:
                self._starts[key] = self.world.now
            (self.firing.add if status is Status.FIRING else self.firing.discard)(key)
            alerts.append(alert(name, level, status, self._starts.get(key, MONDAY)))
        self.world.post(*alerts, group=group)

    def begin(self, destination: Destination) -> None:
        if destination.key not in self._under_way:
            work = self.world.begin(destination)
            if isinstance(work, Work):
                self._under_way[destination.key] = work

    def finish(self, destination: Destination, how: str) -> None:
        work = self._under_way.pop(destination.key, None)
        if work is None or how == "crash before":  # killed before the provider heard: nothing is recorded
            return
        if how == "crash after":
            self.world.providers[destination.key].hear(work)
            return
        outcomes: dict[str, Outcome] = {
            "delivered": Delivered(),
            "failed": Retry("http 503"),
            "lost answer": Retry("timeout", ambiguous=True),
            "lost request": Retry("timeout", ambiguous=True),
            "broken": Broken("channel_not_found"),
            "given up": Rejected("given up after 1d: http 503"),
            "given up in doubt": Rejected("given up after 1d: timeout", ambiguous=True),
        }
        self.world.finish(work, outcomes[how], heard=how in {"lost answer", "given up in doubt"})

    def play(self, kind: str, what: Any, detail: Any) -> None:
        match kind:
            case "post":
                self.post(what, detail, Status.FIRING)
            case "end":
                self.post(what, detail, Status.RESOLVED)
            case "wait":
                self.world.now += what
            case "begin":
                self.begin(ALL[what])
            case "finish":
                self.finish(ALL[what], detail)
            case "retry":
                self.world.retry_the_dead()
            case "reload":
                self.world.reload(RULES[what])
        self.world.assert_balanced()

    def settle(self) -> None:
        """Providers are well, and time passes: beyond an opening, the inhibit wait, and a digest's slot."""
        while self._under_way:
            _, work = self._under_way.popitem()
            self.world.finish(work, Delivered())
        for _ in range(3):
            self.world.now += 24 * HOUR - (self.world.now - NOON) % DAY
            self.world.deliver()
            self.world.now += MINUTE
            self.world.deliver()
        self.world.assert_balanced()


@given(_steps, st.sampled_from([None, 0, HOUR]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_history_ends_with_the_truth_and_balanced_books(
    steps: list[tuple[str, Any, Any]], repeat: Millis | None
) -> None:
    with a_world(policy=with_repeat(repeat)) as world:
        history = History(world)
        for step in steps:
            history.play(*step)
        history.settle()
        world.reload(POLICY)
        world.retry_the_dead()
        history.settle()
        criticals = {key for key in history.firing if key.endswith("critical")}
        for destination in (SLACK, PAGER, PER_ALERT):
            assert world.providers[destination.key].all_firing == criticals
        warnings = {key for key in history.firing if key.endswith("warning")}
        muted = {f"{key[0]}-warning" for key in criticals}
        assert warnings - muted <= world.providers[TEAM.key].all_firing <= history.firing
        fates = {fate for each in (SLACK, PAGER, PER_ALERT, TEAM) for fate in world.fates(each)}
        dropped = {"dropped"} if any(kind == "reload" for kind, *_ in steps) else set()
        assert fates <= {"delivered", "moot", "inhibited"} | dropped


def test_the_status_page_reads_the_same_books(world: World) -> None:
    world.post(alert("Down", "critical"), alert("Disk", "warning"), alert("Cert", "info"))
    engine = sa.create_engine("sqlite://", creator=lambda: world.tx._connection, poolclass=sa.pool.StaticPool)
    with engine.connect() as connection:
        ledger = books.ledger(connection)
    assert ledger["changes"] == {"fired": 3, "resolved": 0, "repeated": 0}
    assert ledger["changes_x_destinations"] == 5
    assert ledger["fates"]["pending"] == 4
    assert ledger["fates"]["inhibited"] == 0
    assert ledger["imbalance"] == 0
