"""Finished rows are pruned, their sums stay, and no row that is still needed is pruned."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from router.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Configuration,
    Delivered,
    Millis,
    Rejected,
    Retention,
    Retry,
    Status,
)
from router.store import Adoption, Balance, Store
from router.store.jobs import Adopt
from router.store.prune_rules import PRUNE_CHANGES, SURPLUS_RULES
from router.store.retention import ROWS_PER_TRANSACTION, Bounds, bounds
from router.store.schema import metadata
from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.stories import ALERTS, STEPS, History
from tests.unit.core.world import (
    ALL,
    DAILY,
    MONDAY,
    NIGHT,
    PAGER,
    POLICY,
    SLACK,
    TEAM,
    Provider,
    World,
    alert,
)
from tests.unit.store.sqlite_world import InSqlite, collected, in_sqlite

WEEKS = Retention()
SHORT = Retention(history=HOUR, webhooks=MINUTE)


class PruneHarness:
    """A world whose database is pruned and read."""

    def __init__(self, database: InSqlite) -> None:
        self.database = database
        self.world = World(database=database)

    def prune(self, retention: Retention = WEEKS) -> list[int]:
        """Prune, and return how many rows each transaction deleted."""
        changes = self.count("changes")
        went = collected(self.world.store.prune(retention, self.world.now))
        self.world.accepted -= changes - self.count("changes")
        return list(went)

    def account(self, since: Millis | None = None, until: Millis | None = None) -> dict[str, Any]:
        return at_once(self.world.store.pages.ledger(since, until))

    def balance(self, last: Balance | None = None) -> Balance:
        return at_once(self.world.store.balance(last))

    def count(self, table: str, where: str = "1") -> int:
        ((count,),) = self.database.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(count)

    def numbers(self, table: str, where: str = "1") -> list[int]:
        rows = self.database.rows(f"SELECT id FROM {table} WHERE {where} ORDER BY id")
        return [number for (number,) in rows]

    def change(self, sql: str, *values: object) -> None:
        self.database.rows(sql, *values)


@contextmanager
def open_harness() -> Iterator[PruneHarness]:
    with in_sqlite() as database:
        yield PruneHarness(database)


@pytest.fixture
def harness() -> Iterator[PruneHarness]:
    with open_harness() as harness:
        yield harness


def notify_and_end(world: World, *names: str, level: str = "critical") -> None:
    for status in (Status.FIRING, Status.RESOLVED):
        for name in names:
            world.post(alert(name, level, status, starts_at=world.now), group=name)
        world.deliver()


def test_finished_rows_are_pruned_in_time_and_added_to_the_sums(harness: PruneHarness) -> None:
    notify_and_end(harness.world, "A", "B")
    notify_and_end(harness.world, "A")
    harness.world.now += 29 * DAY
    harness.world.deliver()
    assert harness.count("webhooks", "body = x''") == 0
    harness.prune()
    assert (harness.count("webhooks", "body = x''"), harness.count("changes")) == (6, 6)
    before = harness.account()
    harness.world.now += 2 * DAY
    harness.world.deliver()
    harness.prune()
    tables = ("webhooks", "changes", "fates", "deliveries", "members", "alerts")
    assert [harness.count(table) for table in tables] == [0] * len(tables)
    assert harness.account() == before
    assert before["fates"]["delivered"] == 18


def test_history_is_pruned_with_its_alerts(harness: PruneHarness) -> None:
    world = harness.world
    world.now = NIGHT
    world.post(alert("Disk", "warning"), alert("Down", "critical"))
    world.now += 11 * HOUR
    work = world.work_of(TEAM)
    at_once(world.store.record(work, Delivered(), POLICY, world.now, world.now, b"\0{}"))
    world.post(alert("Disk", "warning", Status.RESOLVED), alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    history = ("former_fates", "messages", "alert_labels")
    assert [harness.count(table) for table in history] == [1, 1, 4]
    world.now += 8 * DAY
    harness.prune()
    assert [harness.count(table) for table in history] == [1, 0, 4]
    world.now += 31 * DAY
    world.deliver()
    harness.prune()
    assert [harness.count(table) for table in history] == [0, 0, 0]


def test_messages_are_pruned_with_their_attempts_at_the_latest(harness: PruneHarness) -> None:
    world = harness.world
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    at_once(world.store.record(work, Delivered(), POLICY, world.now, world.now, b"\0{}"))
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    world.now += 31 * DAY
    world.deliver()
    harness.prune(Retention(messages=365 * DAY))
    assert (harness.count("messages"), harness.count("deliveries")) == (0, 0)


def test_a_configuration_is_pruned_after_all_its_decisions(harness: PruneHarness) -> None:
    world = harness.world
    for number in range(3):
        world.reload(replace(POLICY, configuration=Configuration(f"{number + 1}" * 64)))
        world.now += 20 * DAY
        world.deliver()
    assert harness.count("configurations") == 3
    harness.prune()  # the second was in force from 40 days ago until 20 days ago
    assert [number for (number,) in harness.database.rows("SELECT substr(sha256, 1, 1) FROM configurations")] == [
        "2", "3",
    ]  # fmt: skip


def test_the_status_page_reads_the_same_ledger(harness: PruneHarness) -> None:
    harness.world.post(alert("Down", "critical"), alert("Disk", "warning"), alert("Cert", "info"))
    ledger = at_once(harness.world.store.pages.status())
    assert ledger["changes"] == {"fired": 3, "resolved": 0, "repeated": 0}
    assert ledger["changes_x_destinations"] == 5
    assert (ledger["fates"]["pending"], ledger["fates"]["inhibited"], ledger["imbalance"]) == (4, 0, 0)


def test_pruning_does_not_reset_the_number_of_an_episode(harness: PruneHarness) -> None:
    """Dedup keys and Message-IDs contain it."""
    for _ in range(3):
        notify_and_end(harness.world, "A")
        harness.world.now += 31 * DAY
        harness.world.deliver()
        assert harness.prune()
        assert harness.count("conversations", f"destination = '{SLACK.key}'") == 1
    assert sorted(episode for _, episode in harness.world.providers[SLACK.key].firing) == [1, 2, 3]


def test_the_last_change_of_a_firing_alert_stays(harness: PruneHarness) -> None:
    world = harness.world
    for _ in range(2):
        world.post(alert("Disk", "warning"))
        world.now += 20 * SECOND
        world.deliver()
    world.now += 31 * DAY
    world.deliver()
    harness.prune()
    assert harness.count("changes") == 1
    receivers = {**POLICY.receivers, "team": (TEAM, PAGER)}
    world.reload(replace(POLICY, receivers=receivers, fingerprint="two of a team"))
    assert world.fates(PAGER) == ["pending"]
    assert harness.balance().off == 0


@pytest.mark.parametrize(
    ("level", "fate"), [("warning", "held"), ("info", "digest"), ("critical", "pending")]
)
def test_pending_notifications_stay(harness: PruneHarness, level: str, fate: str) -> None:
    world = harness.world
    world.now = NIGHT
    world.post(alert("Disk", level))
    world.post(alert("Disk", level))
    world.now += 40 * DAY
    harness.prune()
    assert harness.count("fates", f"fate = '{fate}'") == harness.count("fates") >= 2


def test_an_unsettled_dead_letter_keeps_its_rows(harness: PruneHarness) -> None:
    world = harness.world
    world.post(alert("Down", "critical"))
    for destination in (PAGER, SLACK):
        work = world.work_of(destination)
        world.finish(work, Rejected("http 400") if destination is PAGER else Delivered())
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    harness.change(
        "UPDATE conversations SET state = 'closed', due_at = NULL WHERE destination = ?", PAGER.key
    )
    world.now += 31 * DAY
    world.deliver()
    harness.prune()
    kept = ("changes", "members", "deliveries", "alerts")
    assert [harness.count(table) for table in kept] == [1, 3, 1, 1]
    assert (world.fates(PAGER), world.fates(SLACK)) == (["dead"], ["delivered"])
    harness.change("UPDATE fates SET fate = 'dropped' WHERE fate = 'dead'")
    harness.prune()
    assert [harness.count(table) for table in kept] == [0, 0, 0, 0]


def test_a_dead_letter_whose_alerts_are_pruned_can_be_settled(harness: PruneHarness) -> None:
    """The end of a group that Alertmanager had cut is sent twice, and the second notice has no fate of its own."""
    world = harness.world
    for status, truncated in ((Status.FIRING, 3), (Status.RESOLVED, 3)):
        world.post(alert("Down", "critical", status), truncated=truncated)
        world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    work = world.work_of(PAGER)
    world.finish(work, Rejected("http 400"))
    for status in Status:
        world.post(alert("Down", "critical", status))
        world.deliver()
    world.now += 40 * DAY
    world.deliver()
    harness.prune()
    assert harness.count("members", "conversation_id IN (SELECT conversation_id FROM dead_letters)") == 0
    world.retry_the_dead()
    assert world.letters() == []


def test_an_open_conversation_keeps_its_members_and_attempts(harness: PruneHarness) -> None:
    world = harness.world
    world.post(alert("A", "critical"), alert("B", "critical"))
    world.deliver(SLACK)
    world.post(alert("A", "critical", Status.RESOLVED))
    world.deliver(SLACK)
    world.now += 31 * DAY
    world.deliver(DAILY)
    harness.prune()
    of_slack = f"conversation_id = (SELECT id FROM conversations WHERE destination = '{SLACK.key}')"
    assert harness.count("deliveries", of_slack) == 2
    assert harness.count("members", of_slack) == 2
    assert harness.count("changes", "alert_id = 1") == 0


def test_a_dropped_member_stays_while_its_alert_fires(harness: PruneHarness) -> None:
    """Other rules may send it to that destination after all."""
    world = harness.world
    for group in "gh":
        world.post(alert("Disk", "warning"), group=group)
    member, _ = harness.numbers("members")
    harness.change("UPDATE members SET decision = 'drop', at = NULL WHERE id = ?", member)
    harness.change("UPDATE fates SET fate = 'dropped' WHERE member_id = ?", member)
    world.now += 31 * DAY
    world.deliver(DAILY)
    harness.prune()
    assert (harness.count("changes"), harness.count("members")) == (1, 2)


def test_a_change_is_pruned_after_its_last_fate_is_final(harness: PruneHarness) -> None:
    world = harness.world
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    world.finish(work, Retry("http 503"))
    world.now += 20 * DAY
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.now += 20 * DAY
    world.deliver()
    harness.prune()
    assert [*world.fates(SLACK), *world.fates(PAGER)] == ["obsolete"] * 4
    world.now += 11 * DAY
    world.deliver()
    harness.prune()
    assert [harness.count(table) for table in ("changes", "members")] == [0, 0]
    assert harness.count("deliveries", f"destination = '{SLACK.key}'") == 0


def test_a_delivery_under_way_and_its_conversation_stay(harness: PruneHarness) -> None:
    world = harness.world
    world.post(alert("Cert", "info"))
    world.post(alert("Cert", "info", Status.RESOLVED))
    world.now += DAY
    work = world.work_of(DAILY)
    world.do(Adopt(Adoption(replace(POLICY, schedules={})), world.now))
    world.now += 31 * DAY
    harness.prune()
    assert harness.count("deliveries") == 1
    world.finish(work, Delivered())
    harness.prune()
    assert harness.count("deliveries") == 0


def test_a_digest_that_is_weeks_late_still_reports_obsolete_alerts(harness: PruneHarness) -> None:
    world = harness.world
    world.now = NIGHT
    world.post(alert("Gone", "warning"))
    world.post(alert("Gone", "warning", Status.RESOLVED))
    world.now += 60 * DAY
    harness.prune()
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert [line.alert.fingerprint for line in work.conversation.digest.obsolete] == ["Gone-warning"]
    world.finish(work, Delivered())
    harness.prune()
    assert harness.count("changes") == 0


def test_a_late_digest_reports_alerts_that_ended_meanwhile(harness: PruneHarness) -> None:
    """Its own member has no fate, because the last change belongs to the next slot."""
    world = harness.world
    world.post(alert("Cert", "info"))
    world.now += DAY
    world.deliver()
    world.now += 3 * DAY
    world.post(alert("Cert", "info"))
    world.post(alert("Cert", "info", Status.RESOLVED))
    harness.prune()
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert [line.alert.fingerprint for line in work.conversation.digest.ended] == ["Cert-info"]


def test_slots_of_sent_digests_are_pruned(harness: PruneHarness) -> None:
    for _ in range(40):
        harness.world.now += DAY
        harness.world.deliver()
    harness.prune()
    assert harness.count("conversations") == 31


def test_quarantined_bodies_stay_as_long_as_history(harness: PruneHarness) -> None:
    for number, at in enumerate((harness.world.now - 31 * DAY, harness.world.now - 8 * DAY), 1_000):
        harness.change(
            "INSERT INTO webhooks VALUES (?, 'prod', ?, x'00', 'not JSON', NULL, NULL, '', NULL)", number, at
        )
    before = harness.account()
    harness.prune()
    assert harness.count("webhooks", "body = x'00'") == 1
    assert harness.account() == before
    assert before["webhooks"]["quarantined"] == 2


def test_a_transaction_prunes_a_bounded_number_of_rows(harness: PruneHarness) -> None:
    for _ in range(3):
        notify_and_end(harness.world, *(f"A{number}" for number in range(90)))
    harness.world.now += 31 * DAY
    harness.world.deliver()
    went = harness.prune()
    sums = harness.count("day_sums") + harness.count("fate_sums")
    assert max(went) <= ROWS_PER_TRANSACTION + sums < ROWS_PER_TRANSACTION + 20
    assert sum(went) > 3 * 2 * 90 * 4


def test_a_dead_letter_that_is_retried_meanwhile_stays(harness: PruneHarness) -> None:
    notify_and_end(harness.world, "A")
    harness.world.now += 31 * DAY
    harness.world.deliver()
    database = harness.database
    limits = at_once(database.read(lambda c: bounds(c, WEEKS, harness.world.now)))
    found = at_once(database.read(lambda c: PRUNE_CHANGES.find(c, limits, 0)))
    first, second = harness.numbers("changes")
    assert found == [first, second]
    harness.change(
        "UPDATE fates SET fate = 'pending' WHERE change_id = ? AND destination = ?", first, SLACK.key
    )
    assert at_once(database.write(lambda c: PRUNE_CHANGES.remove(c, limits, found))) == 1
    assert harness.numbers("changes") == [first]
    assert harness.balance().off == 0


def test_pruned_days_are_known_only_as_a_whole(harness: PruneHarness) -> None:
    notify_and_end(harness.world, "A")
    harness.world.now += 31 * DAY
    notify_and_end(harness.world, "B")
    noon, later = (day + 12 * HOUR for day in (MONDAY, MONDAY + 31 * DAY))
    assert harness.account(noon, noon + 1)["changes"] == {"fired": 1, "resolved": 1, "repeated": 0}
    assert harness.account(noon + 1, later)["changes_x_destinations"] == 0
    harness.prune()
    pruned = harness.account(noon + 1, later)
    assert (pruned["since"], pruned["until"], pruned["changes_x_destinations"]) == (MONDAY, later, 6)
    assert harness.account(MONDAY + DAY, later + 1)["changes_x_destinations"] == 6
    ending = harness.account(None, noon)
    assert (ending["until"], ending["changes_x_destinations"]) == (MONDAY + DAY, 6)


@pytest.mark.parametrize(
    ("damage", "off", "wrong"),
    [
        ("DELETE FROM fates WHERE change_id = :second AND destination = 'slack:C0CRITICAL'", 1, (2,)),
        ("DELETE FROM fates WHERE change_id = :second", 4, (2,)),
        ("UPDATE fates SET destination = 'pagerduty:one' WHERE change_id = :first", 2, (1,)),
        ("UPDATE changes SET destinations = destinations + iif(id = :first, 1, -1)", 2, (1, 2)),
        ("UPDATE changes SET destinations = 0", 6, (1, 2)),
        ("INSERT INTO fate_sums VALUES (0, 'slack:C0CRITICAL', 'fired', 'delivered', '', 7)", 7, ()),
    ],
)
def test_each_fault_in_the_ledger_is_found(
    harness: PruneHarness, damage: str, off: int, wrong: tuple[int, ...]
) -> None:
    notify_and_end(harness.world, "A")
    assert harness.balance().off == 0
    numbers = harness.numbers("changes")
    harness.change(damage.replace(":first", str(numbers[0])).replace(":second", str(numbers[1])))
    assert (harness.balance().off, harness.balance().changes) == (
        off,
        tuple(numbers[each - 1] for each in wrong),
    )
    assert harness.account()["imbalance"] == off


def test_a_later_check_reads_only_what_was_added(harness: PruneHarness) -> None:
    notify_and_end(harness.world, "A", "B")
    last = harness.balance()
    first, second, *_ = harness.numbers("changes")
    harness.change("DELETE FROM fates WHERE change_id = ?", first)
    assert harness.balance(last).off == 0
    harness.change(
        "INSERT INTO fates SELECT 1000, ?, 'x', NULL, 'obsolete', '', '', 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, ''",
        second,
    )
    assert harness.balance(last).changes == (second,)
    harness.world.post(alert("C", "critical"))
    newest = harness.numbers("changes")[-1]
    harness.change("UPDATE changes SET destinations = 9 WHERE id = ?", newest)
    assert harness.balance(last).changes == (second, newest)
    assert harness.balance().changes == (first, second, newest)


async def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/router.db"
    await (await Store.open(url)).close()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        # Only PostgreSQL has this index; SQLite has a unique constraint instead.
        options = {"include_object": lambda _item, name, *_: name != "ix_groups_key"}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    assert differences == []


_posts = st.lists(
    st.tuples(
        st.sampled_from(["post", "end", "end"]),
        st.lists(ALERTS, min_size=1, max_size=3, unique=True),
        st.sampled_from("gh"),
    ),
    min_size=1,
    max_size=4,
)
_chapters = st.tuples(
    st.one_of(_posts, _posts, STEPS),
    st.sampled_from([True, True, False]),  # whether everything that is due is delivered then
    st.sampled_from([HOUR, DAY, 9 * DAY, 9 * DAY]),
    st.sampled_from([SHORT, Retention(HOUR, DAY), Retention(DAY, HOUR)]),
)


@given(st.lists(_chapters, min_size=3, max_size=8))
@examples(8)
def test_pruning_at_any_time_changes_no_sum_and_no_notification(chapters: list[Any]) -> None:
    with open_harness() as harness:
        unpruned = World()
        histories = (History(harness.world, checked=False), History(unpruned))
        for steps, delivers, pause, retention in chapters:
            for history in histories:
                for step in steps:
                    history.play(*step)
                if delivers:
                    for destination in ALL:
                        history.finish(destination, "delivered")
                    history.world.deliver()
                history.world.now += pause
            prune_and_compare(harness, retention)
        for history in histories:
            history.settle()
        for destination in ALL:
            mine, other = harness.world.providers[destination.key], unpruned.providers[destination.key]
            assert by_alert(mine) == by_alert(other)
            assert mine.all_firing == other.all_firing


def by_alert(provider: Provider) -> list[tuple[str, str]]:
    """What the provider received about each alert, in order."""
    return sorted(provider.received, key=itemgetter(0))


def prune_and_compare(harness: PruneHarness, retention: Retention) -> None:
    midnight = harness.world.now - harness.world.now % DAY
    periods = [(None, None), *((midnight - n * DAY, midnight - n * DAY + DAY) for n in range(3))]
    before = [harness.account(*period) for period in periods]
    harness.prune(retention)
    assert [harness.account(*period) for period in periods] == before
    assert before[0]["imbalance"] == 0
    assert harness.prune(retention) == []


def quarantine(harness: PruneHarness, *sizes: int) -> list[int]:
    """Quarantine bodies of these sizes, and return their ids."""
    store, now = harness.world.store, harness.world.now
    return [at_once(store.quarantine(bytes(size), "prod", "not JSON", now)) for size in sizes]


def trim(harness: PruneHarness, limits: Retention) -> int:
    return at_once(harness.world.store.quarantine_limits.trim(limits))


def test_the_oldest_bodies_beyond_the_rows_are_dropped(harness: PruneHarness) -> None:
    ids, before = quarantine(harness, *[1] * (ROWS_PER_TRANSACTION + 20)), harness.account()
    assert trim(harness, Retention(quarantine_rows=10)) == ROWS_PER_TRANSACTION + 10
    assert harness.numbers("webhooks", "quarantined IS NOT NULL") == ids[-10:]
    assert harness.account() == before  # they stay counted
    assert trim(harness, Retention(quarantine_rows=10)) == 0


def test_the_oldest_bodies_beyond_the_bytes_are_dropped(harness: PruneHarness) -> None:
    ids = quarantine(harness, 10, 600, 500, 400)
    assert trim(harness, Retention(quarantine_bytes=1_000)) == 2
    assert harness.numbers("webhooks", "quarantined IS NOT NULL") == ids[2:]
    shown = harness.world.store.quarantine_limits.describe()
    assert shown == {
        "rows": 2, "bytes": 900, "max_rows": 10_000, "max_bytes": 1_000, "dropped_since_start": 2,
    }  # fmt: skip


def test_the_newest_body_stays_however_large_it_is(harness: PruneHarness) -> None:
    *_, last = quarantine(harness, 10, 5_000)
    assert trim(harness, Retention(quarantine_bytes=1_000)) == 1
    assert harness.numbers("webhooks", "quarantined IS NOT NULL") == [last]


def test_accepted_webhooks_are_no_part_of_the_quarantine(harness: PruneHarness) -> None:
    notify_and_end(harness.world, "A")
    before = harness.count("webhooks")
    quarantine(harness, 10)
    assert trim(harness, Retention(quarantine_rows=1)) == 0
    assert harness.count("webhooks") == before + 1


def test_a_dropped_body_with_decided_alerts_keeps_its_row(harness: PruneHarness) -> None:
    notify_and_end(harness.world, "A")
    harness.change("UPDATE webhooks SET quarantined = 'it fails'")
    decided = harness.count("webhooks")
    quarantine(harness, 10)
    assert trim(harness, Retention(quarantine_rows=1)) == decided
    assert harness.count("webhooks", "body = x''") == decided
    assert harness.balance().off == 0


def test_more_than_the_limit_wakes_the_one_who_trims(harness: PruneHarness) -> None:
    limits = harness.world.store.quarantine_limits
    trim(harness, Retention(quarantine_rows=2))
    quarantine(harness, 1, 1)
    assert not limits.full.is_set()
    quarantine(harness, 1)
    assert limits.full.is_set()
    assert trim(harness, Retention(quarantine_rows=2)) == 1
    assert not limits.full.is_set()


def test_large_bodies_are_dropped_in_small_transactions(harness: PruneHarness) -> None:
    quarantine(harness, *[2**20] * 40, 1)
    limits = Bounds(0, 0, 0, max(harness.numbers("webhooks")) - 1)
    found = at_once(harness.database.read(lambda c: SURPLUS_RULES[0].find(c, limits, 0)))
    assert 1 <= len(found) < 20
