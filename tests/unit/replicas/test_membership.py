"""The session of a replica: when its leases are to be trusted, and what happens when the database does not answer."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from router.app import ServeOptions
from router.core.head import Grant
from router.core.leases import EXPIRED, RELEASED, LeaseRow, Renewal, RenewalRequest, ReplicaRow, renew
from router.metrics import Metrics
from router.model import SECOND, Millis
from router.replicas import Held, JudgedBy, Membership
from router.replicas.membership import bears_stall, shortest_trust
from router.store import LONGEST_BATCH, ReplicasView, Store, StoreUnavailable
from router.store.postgresql_session import WRITES
from tests.clock import ManualClock

NOON: Millis = 1_795_435_200_000
TERM: Millis = 10 * SECOND
TRUST: Millis = 8 * SECOND


@dataclass
class SharedDatabase:
    """What all replicas of a test see. :attr:`clock` is the database's, too."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    replicas: tuple[ReplicaRow, ...] = ()
    leases: tuple[LeaseRow, ...] = ()

    def holder(self, lease: str) -> str:
        """Return the name of the replica that holds a lease; empty: nobody does."""
        names = {each.id: each.name for each in self.replicas}
        return next((names.get(each.replica or "", "") for each in self.leases if each.name == lease), "")

    def leave(self, session: str) -> None:
        self.replicas = tuple(each for each in self.replicas if each.id != session)
        self.leases = tuple(
            each._replace(replica=None, since=self.clock.now(), passed_on=RELEASED)
            if each.replica == session
            else each
            for each in self.leases
        )


class FakeReplicas:
    """Does in memory what the store does, over a connection that the test can cut."""

    are_possible = True
    has_more_to_interrupt = False

    def __init__(self, database: SharedDatabase) -> None:
        self._database = database
        self.is_cut = False
        self.answers = asyncio.Event()
        """Not set: an answer does not come, although what was asked is done."""
        self.answers.set()
        self.lost_joins = 0
        """How many sessions are to begin without an answer."""
        self.renewals = 0

    async def _call(self) -> None:
        if self.is_cut:
            raise StoreUnavailable("the connection is cut")

    async def _answered(self) -> None:
        await self.answers.wait()
        await self._call()

    async def view(self) -> ReplicasView:
        await self._call()
        return ReplicasView(self._database.clock.now(), "new", self._database.replicas, self._database.leases)

    async def join(self, request: RenewalRequest) -> Renewal:
        result = await self._renew(request)
        if self.lost_joins:
            self.lost_joins -= 1
            raise StoreUnavailable("the connection broke before the answer came")
        return result

    async def renew(self, request: RenewalRequest) -> Renewal | None:
        await self._call()
        self.renewals += 1
        if all(each.id != request.session for each in self._database.replicas):
            return None
        return await self._renew(request)

    async def _renew(self, request: RenewalRequest) -> Renewal:
        await self._call()
        database = self._database
        result = renew(database.replicas, database.leases, request, "new", database.clock.now())
        database.replicas, database.leases = result.replicas, result.leases
        await self._answered()
        return result

    async def release(self, session: str, names: Collection[str]) -> None:
        await self._call()
        now = self._database.clock.now()
        self._database.leases = tuple(
            each._replace(replica=None, since=now, passed_on=RELEASED)
            if each.replica == session and each.name in names else each
            for each in self._database.leases
        )  # fmt: skip
        await self._answered()

    async def leave(self, session: str, *, is_urgent: bool = False) -> None:
        await self._call()
        self._database.leave(session)
        await self._answered()


@dataclass
class NotingUser:
    """Notes what it is told."""

    names: tuple[str, ...] = ("one", "two")
    told: list[str] = field(default_factory=list)
    fails: int = 0
    can_end: bool = True
    """Whether what is under way ends soon."""
    may_begin: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_begin.set()
        self.may_end.set()

    def wants(self) -> Iterable[str]:
        return self.names

    async def gained(self, held: Held) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("it can't be read")
        await self.may_begin.wait()
        self.told.append(f"gained {held.name} {held.grant.fence} {held.passed_on}".strip())

    async def release(self, name: str) -> bool:
        await self.may_end.wait()
        self.told.append(f"released {name}" if self.can_end else f"kept {name}")
        return self.can_end

    def lost(self, name: str) -> None:
        self.told.append(f"lost {name}")


@dataclass
class OneReplica:
    """A replica on the database of the test."""

    database: SharedDatabase
    name: str = "a"
    names: tuple[str, ...] = ("one", "two")
    rules: str = "new"

    def __post_init__(self) -> None:
        self.user, self.store = NotingUser(self.names), FakeReplicas(self.database)
        self.membership = Membership(
            store=cast("Store", _StoreOf(self.store)), clock=self.database.clock, metrics=Metrics(), name=self.name,
            term=TERM, rules=lambda: JudgedBy(self.rules, self.rules),
        )  # fmt: skip
        self.membership.add(self.user)
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self.membership.join()
        self.task = asyncio.create_task(self.membership.serve())
        await rest()

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task


@dataclass
class _StoreOf:
    replicas: Any


async def rest() -> None:
    """Let all tasks do what they can before the clock moves."""
    for _ in range(60):
        await asyncio.sleep(0)  # real time: none passes; the other tasks run


async def passes(database: SharedDatabase, by: Millis, step: Millis = SECOND // 4) -> None:
    for _ in range(by // step):
        database.clock.advance(step)
        await rest()


@pytest.fixture
def database() -> SharedDatabase:
    return SharedDatabase()


@pytest.fixture
async def alone(database: SharedDatabase) -> AsyncIterator[OneReplica]:
    replica = OneReplica(database)
    await replica.begin()
    yield replica
    await replica.end()


async def test_a_replica_takes_all_leases_and_renews_four_times_a_term(alone: OneReplica) -> None:
    assert alone.user.told == ["gained one 1", "gained two 1"]
    before = alone.store.renewals
    await passes(alone.database, TERM)
    assert alone.store.renewals - before == 4
    assert alone.membership.is_trusted
    assert alone.membership.held == {"one", "two"}


async def test_trust_ends_before_the_session_expires_if_the_database_hangs(alone: OneReplica) -> None:
    alone.store.answers.clear()
    await passes(alone.database, 12 * SECOND)
    assert not alone.membership.is_trusted
    assert alone.user.told[2:] == ["lost one", "lost two"]
    assert not alone.membership.held
    alone.store.answers.set()
    await passes(alone.database, TERM)
    assert alone.user.told[4:] == ["gained one 2 released", "gained two 2 released"]


async def test_a_replica_that_stands_still_in_a_batch_costs_others_no_lease(alone: OneReplica) -> None:
    """It holds the lock from just before a renewal on, until the server ends its batch. Then the renewal's turn comes."""
    await passes(alone.database, TERM // 4 - SECOND // 4)
    alone.store.answers.clear()
    await passes(alone.database, SECOND // 4 + LONGEST_BATCH + SECOND)
    alone.store.answers.set()
    await rest()
    assert alone.membership.is_trusted
    assert alone.user.told[2:] == []


def test_the_default_term_bears_a_replica_that_stands_still() -> None:
    longest = LONGEST_BATCH + SECOND  # and the batches of others before a renewal
    default = ServeOptions(Path("routes.yaml"), ("127.0.0.1", 0)).lease_term
    assert bears_stall(default)
    assert [bears_stall(each) for each in (3 * SECOND, 9 * SECOND, 10 * SECOND)] == [False, False, True]
    assert shortest_trust(default) == TRUST - TERM // 4 >= longest
    idle = WRITES.settings["idle_in_transaction_session_timeout"]
    assert float(idle.removesuffix("s")) * SECOND <= LONGEST_BATCH


@pytest.mark.parametrize(("term", "lines"), [(9 * SECOND, 1), (10 * SECOND, 0)])
async def test_a_term_that_does_not_bear_it_is_warned_of(
    database: SharedDatabase, term: Millis, lines: int
) -> None:
    replica = OneReplica(database)
    replica.membership.term = term
    with capture_logs() as logged:
        await replica.begin()
    await replica.end()
    assert len([line for line in logged if line["event"].startswith("the leases are short")]) == lines


async def test_leases_are_lost_at_the_end_of_trust_and_not_later(alone: OneReplica) -> None:
    alone.store.is_cut = True
    await passes(alone.database, TRUST - SECOND // 4)
    assert alone.membership.is_trusted
    assert alone.user.told[2:] == []
    await passes(alone.database, SECOND // 4)
    assert alone.user.told[2:] == ["lost one", "lost two"]


@pytest.mark.parametrize("is_asked_before", [False, True])
async def test_a_process_that_was_stopped_has_lost_its_leases(
    alone: OneReplica, *, is_asked_before: bool
) -> None:
    """A renewal does not bring the trust back: a delivery may have seen meanwhile that it is over, and was cut off."""
    if is_asked_before:  # the answer to the renewal comes before anything else runs
        alone.store.answers.clear()
        await passes(alone.database, TERM // 4)
        alone.store.answers.set()
    alone.database.clock.advance(TERM)  # nothing runs meanwhile
    assert not alone.membership.is_trusted
    await rest()
    assert alone.membership.is_trusted
    assert alone.membership.held == {"one", "two"}
    assert alone.user.told[2:] == ["lost one", "lost two", "gained one 2 released", "gained two 2 released"]


async def test_a_grant_that_was_lost_is_not_usable_in_the_next_session(alone: OneReplica) -> None:
    """An attempt that began by it may still be under way."""
    earlier, later = Grant("one", 1), Grant("one", 2)
    assert [alone.membership.may_use(each) for each in (earlier, later, Grant("three", 1), None)] == [
        True, False, False, False,
    ]  # fmt: skip
    alone.database.clock.advance(TERM)  # nothing runs meanwhile
    assert not alone.membership.may_use(earlier)
    await rest()
    assert [alone.membership.may_use(each) for each in (earlier, later)] == [False, True]


async def test_another_one_takes_over_and_the_stopped_one_comes_back(alone: OneReplica) -> None:
    other = OneReplica(alone.database, "b")
    await other.begin()
    alone.store.answers.clear()  # stopped
    await passes(alone.database, 2 * TERM)
    assert (alone.database.holder("one"), alone.database.holder("two")) == ("b", "b")
    assert {told.partition(" 2")[0] for told in other.user.told} >= {"gained one"}
    assert f"gained one 2 {EXPIRED}" in other.user.told
    alone.store.answers.set()
    await passes(alone.database, 2 * TERM)
    assert {alone.database.holder("one"), alone.database.holder("two")} == {"a", "b"}
    assert len(alone.database.replicas) == 2
    await other.end()


async def test_a_renewal_that_is_answered_too_late_is_not_trusted(alone: OneReplica) -> None:
    alone.store.answers.clear()
    await passes(alone.database, TERM // 4)  # the renewal is done, and its answer is late
    await passes(alone.database, TERM)
    alone.store.answers.set()
    await rest()
    assert alone.user.told[2:4] == ["lost one", "lost two"]


async def test_who_was_expelled_loses_everything_and_begins_a_new_session(alone: OneReplica) -> None:
    before = alone.membership.session
    alone.database.leave(before)
    await passes(alone.database, TERM // 4)
    assert alone.user.told[2:4] == ["lost one", "lost two"]
    assert alone.membership.session not in {"", before}
    assert alone.user.told[4:] == ["gained one 2 released", "gained two 2 released"]


async def test_a_lease_is_given_up_for_a_new_replica_once_nothing_is_under_way(alone: OneReplica) -> None:
    alone.user.may_end.clear()
    other = OneReplica(alone.database, "b")
    await other.begin()
    await passes(alone.database, TERM)
    assert alone.database.holder("two") == "a"
    alone.user.may_end.set()
    await passes(alone.database, TERM)
    assert alone.user.told[2:] == ["released two"]
    assert (alone.database.holder("one"), alone.database.holder("two")) == ("a", "b")
    assert other.user.told == ["gained two 2 released"]
    await other.end()


async def test_a_lease_is_kept_while_something_takes_long_and_offered_again(alone: OneReplica) -> None:
    alone.user.can_end = False
    other = OneReplica(alone.database, "b")
    await other.begin()
    await passes(alone.database, TERM)
    assert set(alone.user.told[2:]) == {"kept two"}
    assert "two" in alone.membership.held
    alone.user.can_end = True
    await passes(alone.database, TERM)
    assert alone.user.told[-1] == "released two"
    assert alone.database.holder("two") == "b"
    await other.end()


async def test_a_replica_with_other_rules_gives_everything_up(alone: OneReplica) -> None:
    alone.rules = "old"
    alone.membership.renew_soon()
    await rest()
    assert sorted(alone.user.told[2:]) == ["released one", "released two"]
    assert not alone.membership.held
    alone.rules = "new"
    await passes(alone.database, TERM // 4)
    assert alone.membership.held == {"one", "two"}


async def test_a_renewal_by_rules_that_were_replaced_meanwhile_costs_no_lease(alone: OneReplica) -> None:
    alone.rules = "old"
    alone.store.answers.clear()
    alone.membership.renew_soon()
    await rest()  # the database has done it, by the rules that another job of the batch put in force
    alone.rules = "new"
    alone.store.answers.set()
    await rest()
    assert alone.user.told[2:] == []
    assert [each.rules for each in alone.database.replicas] == ["new"]


async def test_a_replica_that_starts_or_stops_says_that_it_takes_no_leases(alone: OneReplica) -> None:
    starting = OneReplica(alone.database, "b", names=())
    await starting.begin()
    await passes(alone.database, TERM)
    assert alone.membership.held == {"one", "two"}
    starting.user.names = alone.user.names
    starting.membership.renew_soon()
    await passes(alone.database, TERM)
    assert starting.membership.held == {"two"}
    starting.membership.stop_taking()
    await rest()
    await alone.membership.leave()
    await passes(alone.database, TERM)
    assert starting.membership.held == {"two"}
    assert [each.takes_leases for each in alone.database.replicas if each.name == "b"] == [0]
    await starting.end()


async def test_work_that_could_not_begin_is_begun_again(database: SharedDatabase) -> None:
    replica = OneReplica(database, names=("one",))
    replica.user.fails = 2
    await replica.begin()
    assert replica.user.told == []
    await passes(database, 2 * SECOND)
    assert replica.user.told == ["gained one 1"]
    await replica.end()


async def test_work_that_begins_ends_before_its_lease_is_lost_or_given_up(database: SharedDatabase) -> None:
    replica = OneReplica(database, names=("one",))
    replica.user.may_begin.clear()
    await replica.begin()
    replica.store.is_cut = True
    await passes(database, TERM)
    replica.user.may_begin.set()
    await rest()
    assert replica.user.told == ["lost one"]
    await replica.end()


async def test_a_wish_during_a_renewal_is_heard_after_it(alone: OneReplica) -> None:
    alone.store.answers.clear()
    await passes(alone.database, TERM // 4)  # a renewal is under way
    alone.user.names = ("one", "three", "two")
    alone.membership.renew_soon()
    alone.store.answers.set()
    await rest()
    assert alone.user.told[2:] == ["gained three 1"]


async def test_a_session_that_began_without_an_answer_blocks_nothing(alone: OneReplica) -> None:
    alone.store.is_cut = True
    await passes(alone.database, TRUST)
    alone.store.is_cut, alone.store.lost_joins = False, 1
    await passes(alone.database, 2 * SECOND)
    assert alone.membership.held == {"one", "two"}
    assert len(alone.database.replicas) == 1


async def test_a_stop_keeps_its_leases_takes_no_others_and_releases_all(alone: OneReplica) -> None:
    alone.membership.stop_taking()
    alone.user.names = ("one", "three", "two")
    await passes(alone.database, 2 * TERM)
    assert alone.membership.held == {"one", "two"}
    await alone.membership.leave()
    assert (alone.database.holder("one"), alone.database.holder("two")) == ("", "")
    assert {each.passed_on for each in alone.database.leases} == {RELEASED}
    assert not alone.database.replicas
