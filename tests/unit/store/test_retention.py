"""What is over goes, what it added up to stays, and nothing that is still needed goes."""

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
from router.store.retention import BATCH, CHANGES, bounds
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


class Shelf:
    """A world's database as readers see it, and the pruning of it."""

    def __init__(self, database: InSqlite) -> None:
        self.database = database
        self.world = World(database=database)

    def prune(self, retention: Retention = WEEKS) -> list[int]:
        """Rows that went, by transaction."""
        changes = self.count("changes")
        went = collected(self.world.store.prune(retention, self.world.now))
        self.world.accepted -= changes - self.count("changes")
        return list(went)

    def account(self, since: Millis | None = None, until: Millis | None = None) -> dict[str, Any]:
        return at_once(self.world.store.ledger(since, until))

    def balance(self, last: Balance | None = None) -> Balance:
        return at_once(self.world.store.balance(last))

    def count(self, table: str, where: str = "1") -> int:
        ((count,),) = self.database.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(count)

    def numbers(self, table: str) -> list[int]:
        return [number for (number,) in self.database.rows(f"SELECT id FROM {table} ORDER BY id")]

    def change(self, sql: str, *values: object) -> None:
        self.database.rows(sql, *values)


@contextmanager
def a_shelf() -> Iterator[Shelf]:
    with in_sqlite() as database:
        yield Shelf(database)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with a_shelf() as shelf:
        yield shelf


def told_and_over(world: World, *names: str, level: str = "critical") -> None:
    for status in (Status.FIRING, Status.RESOLVED):
        for name in names:
            world.post(alert(name, level, status, starts_at=world.now), group=name)
        world.deliver()


def test_what_is_over_goes_after_its_time_and_is_in_the_sums(shelf: Shelf) -> None:
    told_and_over(shelf.world, "A", "B")
    told_and_over(shelf.world, "A")
    shelf.world.now += 29 * DAY
    shelf.world.deliver()
    assert shelf.count("webhooks", "body = x''") == 0
    shelf.prune()
    assert (shelf.count("webhooks", "body = x''"), shelf.count("changes")) == (6, 6)
    before = shelf.account()
    shelf.world.now += 2 * DAY
    shelf.world.deliver()
    shelf.prune()
    tables = ("webhooks", "changes", "fates", "deliveries", "members", "alerts")
    assert [shelf.count(table) for table in tables] == [0] * len(tables)
    assert shelf.account() == before
    assert before["fates"]["delivered"] == 18


def test_history_goes_with_what_it_is_about(shelf: Shelf) -> None:
    world = shelf.world
    world.now = NIGHT
    world.post(alert("Disk", "warning"), alert("Down", "critical"))
    world.now += 11 * HOUR
    work = world.work_of(TEAM)
    at_once(world.store.record(work, Delivered(), POLICY, world.now, world.now, b"\0{}"))
    world.post(alert("Disk", "warning", Status.RESOLVED), alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    history = ("former_fates", "messages", "alert_labels")
    assert [shelf.count(table) for table in history] == [1, 1, 4]
    world.now += 8 * DAY
    shelf.prune()
    assert [shelf.count(table) for table in history] == [1, 0, 4]
    world.now += 31 * DAY
    world.deliver()
    shelf.prune()
    assert [shelf.count(table) for table in history] == [0, 0, 0]


def test_messages_that_are_kept_for_longer_go_with_their_attempts(shelf: Shelf) -> None:
    world = shelf.world
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    at_once(world.store.record(work, Delivered(), POLICY, world.now, world.now, b"\0{}"))
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    world.now += 31 * DAY
    world.deliver()
    shelf.prune(Retention(messages=365 * DAY))
    assert (shelf.count("messages"), shelf.count("deliveries")) == (0, 0)


def test_a_configuration_goes_when_all_its_decisions_are_history(shelf: Shelf) -> None:
    world = shelf.world
    for number in range(3):
        world.reload(replace(POLICY, configuration=Configuration(f"{number + 1}" * 64)))
        world.now += 20 * DAY
        world.deliver()
    assert shelf.count("configurations") == 3
    shelf.prune()  # the second was in force from 40 days ago until 20 days ago
    assert [number for (number,) in shelf.database.rows("SELECT substr(sha256, 1, 1) FROM configurations")] == [
        "2", "3",
    ]  # fmt: skip


def test_the_status_page_reads_the_same_books(shelf: Shelf) -> None:
    shelf.world.post(alert("Down", "critical"), alert("Disk", "warning"), alert("Cert", "info"))
    ledger = at_once(shelf.world.store.status())
    assert ledger["changes"] == {"fired": 3, "resolved": 0, "repeated": 0}
    assert ledger["changes_x_destinations"] == 5
    assert (ledger["fates"]["pending"], ledger["fates"]["inhibited"], ledger["imbalance"]) == (4, 0, 0)


def test_episodes_go_on_counting(shelf: Shelf) -> None:
    """PagerDuty's dedup keys and Message-IDs are made of them."""
    for _ in range(3):
        told_and_over(shelf.world, "A")
        shelf.world.now += 31 * DAY
        shelf.world.deliver()
        assert shelf.prune()
        assert shelf.count("conversations", f"destination = '{SLACK.key}'") == 1
    assert sorted(episode for _, episode in shelf.world.providers[SLACK.key].firing) == [1, 2, 3]


def test_the_last_change_of_what_fires_stays_for_new_rules(shelf: Shelf) -> None:
    world = shelf.world
    for _ in range(2):
        world.post(alert("Disk", "warning"))
        world.now += 20 * SECOND
        world.deliver()
    world.now += 31 * DAY
    world.deliver()
    shelf.prune()
    assert shelf.count("changes") == 1
    receivers = {**POLICY.receivers, "team": (TEAM, PAGER)}
    world.reload(replace(POLICY, receivers=receivers, fingerprint="two of a team"))
    assert world.fates(PAGER) == ["pending"]
    assert shelf.balance().off == 0


@pytest.mark.parametrize(
    ("level", "fate"), [("warning", "held"), ("info", "digest"), ("critical", "pending")]
)
def test_what_has_yet_to_be_told_stays(shelf: Shelf, level: str, fate: str) -> None:
    world = shelf.world
    world.now = NIGHT
    world.post(alert("Disk", level))
    world.post(alert("Disk", level))
    world.now += 40 * DAY
    shelf.prune()
    assert shelf.count("fates", f"fate = '{fate}'") == shelf.count("fates") >= 2


def test_a_dead_letter_keeps_its_change_and_its_conversation_until_it_is_discarded(shelf: Shelf) -> None:
    world = shelf.world
    world.post(alert("Down", "critical"))
    for destination in (PAGER, SLACK):
        work = world.work_of(destination)
        world.finish(work, Rejected("http 400") if destination is PAGER else Delivered())
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    shelf.change("UPDATE conversations SET state = 'closed', due_at = NULL WHERE destination = ?", PAGER.key)
    world.now += 31 * DAY
    world.deliver()
    shelf.prune()
    kept = ("changes", "members", "deliveries", "alerts")
    assert [shelf.count(table) for table in kept] == [1, 3, 1, 1]
    assert (world.fates(PAGER), world.fates(SLACK)) == (["dead"], ["delivered"])
    shelf.change("UPDATE fates SET fate = 'dropped' WHERE fate = 'dead'")
    shelf.prune()
    assert [shelf.count(table) for table in kept] == [0, 0, 0, 0]


def test_a_dead_letter_whose_alerts_are_pruned_can_be_settled(shelf: Shelf) -> None:
    """The end of a group that Alertmanager had cut is told twice, and the second telling has no fate of its own."""
    world = shelf.world
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
    shelf.prune()
    assert shelf.count("members", "conversation_id IN (SELECT conversation_id FROM dead_letters)") == 0
    world.retry_the_dead()
    assert world.letters() == []


def test_an_open_conversation_keeps_whom_it_told_of_and_its_attempts(shelf: Shelf) -> None:
    world = shelf.world
    world.post(alert("A", "critical"), alert("B", "critical"))
    world.deliver(SLACK)
    world.post(alert("A", "critical", Status.RESOLVED))
    world.deliver(SLACK)
    world.now += 31 * DAY
    world.deliver(DAILY)
    shelf.prune()
    of_slack = f"conversation_id = (SELECT id FROM conversations WHERE destination = '{SLACK.key}')"
    assert shelf.count("deliveries", of_slack) == 2
    assert shelf.count("members", of_slack) == 2
    assert shelf.count("changes", "alert_id = 1") == 0


def test_an_alert_that_the_rules_dropped_in_one_group_is_still_known_there(shelf: Shelf) -> None:
    """Other rules may have it told there after all."""
    world = shelf.world
    for group in "gh":
        world.post(alert("Disk", "warning"), group=group)
    member, _ = shelf.numbers("members")
    shelf.change("UPDATE members SET decision = 'drop', at = NULL WHERE id = ?", member)
    shelf.change("UPDATE fates SET fate = 'dropped' WHERE member_id = ?", member)
    world.now += 31 * DAY
    world.deliver(DAILY)
    shelf.prune()
    assert (shelf.count("changes"), shelf.count("members")) == (1, 2)


def test_history_begins_when_the_last_fate_is_known(shelf: Shelf) -> None:
    world = shelf.world
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    world.finish(work, Retry("http 503"))
    world.now += 20 * DAY
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.now += 20 * DAY
    world.deliver()
    shelf.prune()
    assert [*world.fates(SLACK), *world.fates(PAGER)] == ["obsolete"] * 4
    world.now += 11 * DAY
    world.deliver()
    shelf.prune()
    assert [shelf.count(table) for table in ("changes", "members")] == [0, 0]
    assert shelf.count("deliveries", f"destination = '{SLACK.key}'") == 0


def test_a_delivery_that_is_under_way_and_its_conversation_stay(shelf: Shelf) -> None:
    world = shelf.world
    world.post(alert("Cert", "info"))
    world.post(alert("Cert", "info", Status.RESOLVED))
    world.now += DAY
    work = world.work_of(DAILY)
    world.do(Adopt(Adoption(replace(POLICY, schedules={})), world.now))
    world.now += 31 * DAY
    shelf.prune()
    assert shelf.count("deliveries") == 1
    world.finish(work, Delivered())
    shelf.prune()
    assert shelf.count("deliveries") == 0


def test_a_digest_that_is_late_by_weeks_still_names_what_was_obsolete(shelf: Shelf) -> None:
    world = shelf.world
    world.now = NIGHT
    world.post(alert("Gone", "warning"))
    world.post(alert("Gone", "warning", Status.RESOLVED))
    world.now += 60 * DAY
    shelf.prune()
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert [line.alert.fingerprint for line in work.conversation.digest.obsolete] == ["Gone-warning"]
    world.finish(work, Delivered())
    shelf.prune()
    assert shelf.count("changes") == 0


def test_a_digest_that_is_late_names_what_ended_meanwhile(shelf: Shelf) -> None:
    """Its own member has no fate: the last change went to the slot after."""
    world = shelf.world
    world.post(alert("Cert", "info"))
    world.now += DAY
    world.deliver()
    world.now += 3 * DAY
    world.post(alert("Cert", "info"))
    world.post(alert("Cert", "info", Status.RESOLVED))
    shelf.prune()
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert [line.alert.fingerprint for line in work.conversation.digest.ended] == ["Cert-info"]


def test_slots_of_digests_that_went_out_go(shelf: Shelf) -> None:
    for _ in range(40):
        shelf.world.now += DAY
        shelf.world.deliver()
    shelf.prune()
    assert shelf.count("conversations") == 31


def test_quarantined_bodies_stay_as_long_as_history(shelf: Shelf) -> None:
    for number, at in enumerate((shelf.world.now - 31 * DAY, shelf.world.now - 8 * DAY), 1_000):
        shelf.change(
            "INSERT INTO webhooks VALUES (?, 'prod', ?, x'00', 'not JSON', NULL, NULL, '')", number, at
        )
    before = shelf.account()
    shelf.prune()
    assert shelf.count("webhooks", "body = x'00'") == 1
    assert shelf.account() == before
    assert before["webhooks"]["quarantined"] == 2


def test_no_transaction_removes_more_rows_than_a_webhook_may_wait_for(shelf: Shelf) -> None:
    for _ in range(3):
        told_and_over(shelf.world, *(f"A{number}" for number in range(90)))
    shelf.world.now += 31 * DAY
    shelf.world.deliver()
    went = shelf.prune()
    sums = shelf.count("day_sums") + shelf.count("fate_sums")
    assert max(went) <= BATCH + sums < BATCH + 20
    assert sum(went) > 3 * 2 * 90 * 4


def test_a_dead_letter_that_is_taken_up_meanwhile_stays(shelf: Shelf) -> None:
    told_and_over(shelf.world, "A")
    shelf.world.now += 31 * DAY
    shelf.world.deliver()
    database = shelf.database
    limits = at_once(database.read(lambda c: bounds(c, WEEKS, shelf.world.now)))
    found = at_once(database.read(lambda c: CHANGES.find(c, limits, 0)))
    first, second = shelf.numbers("changes")
    assert found == [first, second]
    shelf.change(
        "UPDATE fates SET fate = 'pending' WHERE change_id = ? AND destination = ?", first, SLACK.key
    )
    assert at_once(database.write(lambda c: CHANGES.remove(c, limits, found))) == 1
    assert shelf.numbers("changes") == [first]
    assert shelf.balance().off == 0


def test_of_days_that_were_pruned_only_whole_ones_are_known(shelf: Shelf) -> None:
    told_and_over(shelf.world, "A")
    shelf.world.now += 31 * DAY
    told_and_over(shelf.world, "B")
    noon, later = (day + 12 * HOUR for day in (MONDAY, MONDAY + 31 * DAY))
    assert shelf.account(noon, noon + 1)["changes"] == {"fired": 1, "resolved": 1, "repeated": 0}
    assert shelf.account(noon + 1, later)["changes_x_destinations"] == 0
    shelf.prune()
    pruned = shelf.account(noon + 1, later)
    assert (pruned["since"], pruned["until"], pruned["changes_x_destinations"]) == (MONDAY, later, 6)
    assert shelf.account(MONDAY + DAY, later + 1)["changes_x_destinations"] == 6
    ending = shelf.account(None, noon)
    assert (ending["until"], ending["changes_x_destinations"]) == (MONDAY + DAY, 6)


@pytest.mark.parametrize(
    ("damage", "off", "wrong"),
    [
        ("DELETE FROM fates WHERE change_id = :second AND destination = 'slack:C0CRITICAL'", 1, (2,)),
        ("DELETE FROM fates WHERE change_id = :second", 4, (2,)),
        ("UPDATE fates SET destination = 'pagerduty:one' WHERE change_id = :first", 2, (1,)),
        ("UPDATE changes SET destinations = destinations + iif(id = :first, 1, -1)", 2, (1, 2)),
        ("UPDATE changes SET destinations = 0", 6, (1, 2)),
        ("INSERT INTO fate_sums VALUES (0, 'slack:C0CRITICAL', 'fired', 'delivered', 7)", 7, ()),
    ],
)
def test_whatever_is_wrong_in_the_books_is_found(
    shelf: Shelf, damage: str, off: int, wrong: tuple[int, ...]
) -> None:
    told_and_over(shelf.world, "A")
    assert shelf.balance().off == 0
    numbers = shelf.numbers("changes")
    shelf.change(damage.replace(":first", str(numbers[0])).replace(":second", str(numbers[1])))
    assert (shelf.balance().off, shelf.balance().changes) == (off, tuple(numbers[each - 1] for each in wrong))
    assert shelf.account()["imbalance"] == off


def test_a_later_look_is_at_what_came_since(shelf: Shelf) -> None:
    told_and_over(shelf.world, "A", "B")
    last = shelf.balance()
    first, second, *_ = shelf.numbers("changes")
    shelf.change("DELETE FROM fates WHERE change_id = ?", first)
    assert shelf.balance(last).off == 0
    shelf.change(
        "INSERT INTO fates SELECT 1000, ?, 'x', NULL, 'obsolete', '', '', 0, 0, 0, NULL, NULL, NULL, NULL",
        second,
    )
    assert shelf.balance(last).changes == (second,)
    shelf.world.post(alert("C", "critical"))
    newest = shelf.numbers("changes")[-1]
    shelf.change("UPDATE changes SET destinations = 9 WHERE id = ?", newest)
    assert shelf.balance(last).changes == (second, newest)
    assert shelf.balance().changes == (first, second, newest)


async def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/router.db"
    await (await Store.open(url)).close()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        # Of all that is in the metadata, only PostgreSQL has this index; SQLite has a unique constraint in its place.
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
    st.sampled_from([True, True, False]),  # whether all that is due is told then
    st.sampled_from([HOUR, DAY, 9 * DAY, 9 * DAY]),
    st.sampled_from([SHORT, Retention(HOUR, DAY), Retention(DAY, HOUR)]),
)


@given(st.lists(_chapters, min_size=3, max_size=8))
@examples(8)
def test_pruning_at_any_moment_changes_no_sum_and_nothing_that_is_told(chapters: list[Any]) -> None:
    with a_shelf() as shelf:
        unpruned = World()
        histories = (History(shelf.world, checked=False), History(unpruned))
        for steps, told, pause, retention in chapters:
            for history in histories:
                for step in steps:
                    history.play(*step)
                if told:
                    for destination in ALL:
                        history.finish(destination, "delivered")
                    history.world.deliver()
                history.world.now += pause
            prune_and_compare(shelf, retention)
        for history in histories:
            history.settle()
        for destination in ALL:
            mine, other = shelf.world.providers[destination.key], unpruned.providers[destination.key]
            assert by_alert(mine) == by_alert(other)
            assert mine.all_firing == other.all_firing


def by_alert(provider: Provider) -> list[tuple[str, str]]:
    """What it heard of each alert, in order."""
    return sorted(provider.received, key=itemgetter(0))


def prune_and_compare(shelf: Shelf, retention: Retention) -> None:
    midnight = shelf.world.now - shelf.world.now % DAY
    periods = [(None, None), *((midnight - n * DAY, midnight - n * DAY + DAY) for n in range(3))]
    before = [shelf.account(*period) for period in periods]
    shelf.prune(retention)
    assert [shelf.account(*period) for period in periods] == before
    assert before[0]["imbalance"] == 0
    assert shelf.prune(retention) == []
