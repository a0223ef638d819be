"""The tables of replicas: sessions and leases where several processes share a database, states of lanes and requests on both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection
from functools import partial

import pytest
import sqlalchemy as sa

from router.clock import SystemClock
from router.core.head import Grant, LeaseLost
from router.core.leases import BACKGROUND, EXPIRED, RELEASED, LeaseRow, Renewal, RenewalRequest, lanes_lease
from router.metrics import Metrics
from router.model import HOUR, MINUTE, SECOND, Delivered
from router.replicas import JudgedBy, Membership
from router.store import (
    Limits,
    Permit,
    RequestClosed,
    Store,
    StoredLane,
    StoreUnavailable,
    Trouble,
    starts,
    writer,
)
from router.store.schema import conversations, lane_requests, leases, replicas
from tests.database import busy_writer, until_queued
from tests.postgresql import Server
from tests.statements import watch_writer
from tests.unit.core.world import NOON, POLICY, SLACK, alert, webhook

LANES = lanes_lease("slack")
BOTH = frozenset({BACKGROUND, LANES})


def requested(session: str, wanted: Collection[str] = BOTH) -> RenewalRequest:
    """Sessions last for an hour of real time, so none expires by itself."""
    return RenewalRequest(session, f"router-{session}", "1.0", "", "", "", HOUR, frozenset(wanted))


def held(renewal: Renewal, session: str) -> set[str]:
    return {each.name for each in renewal.leases if each.replica == session}


# Sessions and leases.


@pytest.fixture
async def two(postgresql: Server) -> AsyncIterator[tuple[Store, Store]]:
    with postgresql.with_tables() as url:
        stores = await Store.open(url), await Store.open(url)
        yield stores
        for each in stores:
            await each.close()


async def lease(store: Store, name: str) -> LeaseRow:
    return next(each for each in (await store.replicas.view()).leases if each.name == name)


async def renewed(store: Store, session: str) -> Renewal:
    renewal = await store.replicas.renew(requested(session))
    assert renewal is not None
    return renewal


async def joined(two: tuple[Store, Store]) -> tuple[Store, Store]:
    """Begin the sessions of both."""
    for store, session in zip(two, "ab", strict=True):
        await store.replicas.join(requested(session))
    return two


async def begin_delivery(store: Store) -> None:
    """Have a delivery under way."""
    await store.accept(webhook(alert("Down", "critical")), "default", b"{}", POLICY, NOON)
    assert (await store.claim_several(Permit(SLACK), POLICY, NOON)).works


async def test_the_first_replica_takes_all_leases(two: tuple[Store, Store]) -> None:
    a, b = two
    joined = await a.replicas.join(requested("a"))
    assert joined.taken == held(joined, "a") == BOTH
    assert [each.id for each in joined.replicas] == ["a"]
    view = await b.replicas.view()
    assert (view.replicas, view.leases, view.rules) == (joined.replicas, joined.leases, "")
    (row,) = view.replicas
    assert (row.name, row.version, row.expires_at - row.renewed_at) == ("router-a", "1.0", HOUR)
    assert {each.fence for each in view.leases} == {1}


async def test_a_renewal_holds_batches_up_for_few_round_trips(two: tuple[Store, Store]) -> None:
    """They are counted with those of BEGIN and COMMIT. No more with more replicas and leases."""
    a, b = two
    await a.replicas.join(requested("a"))
    last = await watch_writer(a)
    found = []
    for wanted in (BOTH, {*BOTH, *(lanes_lease(f"slack/{number}") for number in range(50))}):
        await a.replicas.renew(requested("a", wanted))  # which takes the new leases
        await a.replicas.renew(requested("a", wanted))
        found.append((last.statements.copy(), last.round_trips))
        await b.replicas.join(requested("b", wanted))
    (few, trips), (many, many_trips) = found
    assert few == many
    assert trips == many_trips <= 6


async def test_a_lease_passes_on_when_it_is_released(two: tuple[Store, Store]) -> None:
    a, b = two
    await a.replicas.join(requested("a"))
    assert not held(await b.replicas.join(requested("b")), "b")
    (surplus,) = (await renewed(a, "a")).surplus
    await a.replicas.release("b", BOTH)  # nobody releases what another one holds
    assert (await lease(b, surplus)).replica == "a"
    await a.replicas.release("a", (surplus,))
    free = await lease(b, surplus)
    assert (free.replica, free.fence, free.passed_on) == (None, 1, RELEASED)
    assert (await renewed(b, "b")).taken == {surplus}
    taken = await lease(b, surplus)
    assert (taken.replica, taken.fence) == ("b", 2)
    assert held(await renewed(a, "a"), "a") == BOTH - {surplus}
    assert not (await renewed(a, "a")).surplus


async def test_a_replica_that_leaves_frees_all_that_it_had(two: tuple[Store, Store]) -> None:
    a, b = await joined(two)
    await begin_delivery(a)
    await a.replicas.leave("a")
    view = await b.replicas.view()
    assert [each.id for each in view.replicas] == ["b"]
    assert {(each.replica, each.passed_on) for each in view.leases} == {(None, RELEASED)}
    assert (await renewed(b, "b")).taken == BOTH
    assert (await b.claim_several(Permit(SLACK), POLICY, NOON + MINUTE)).works
    await a.replicas.leave("a")
    assert (await renewed(b, "b")).leases == (await b.replicas.view()).leases


def expire(connection: sa.Connection) -> None:
    """The session of A has expired, and B has lived for long enough to know that."""
    connection.execute(sa.update(replicas).where(replicas.c.id == "a").values(expires_at=0))
    earlier = replicas.c.started_at - HOUR
    connection.execute(sa.update(replicas).where(replicas.c.id != "a").values(started_at=earlier))


async def begin_storm(store: Store) -> int:
    """Have the message of a storm under way. Return how many conversations it holds."""
    for number in range(12):
        group = webhook(alert(f"Down{number}", "critical"), group=f"g{number}")
        await store.accept(group, "default", b"{}", POLICY, NOON)
    (work,) = (await store.claim_several(Permit(SLACK, Limits(above=1, every=MINUTE)), POLICY, NOON)).works
    assert work.conversation.storm is not None
    return await held_conversations(store)


async def held_conversations(store: Store) -> int:
    """Return how many conversations deliveries hold that are under way."""
    count = sa.select(sa.func.count()).where(conversations.c.delivery_id.is_not(None))
    return await store.database.read(lambda connection: connection.execute(count).scalar_one())


async def test_what_a_storm_of_a_dead_replica_held_is_freed_in_pieces(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches of all replicas wait for a renewal, and the server ends one that takes too long."""
    monkeypatch.setattr(starts, "_INTERRUPTED_AT_ONCE", 5)
    a, b = await joined(two)
    left = await begin_storm(a)
    assert left > 10
    await b.database.write(expire)
    assert (await renewed(b, "b")).expelled
    while b.replicas.has_more_to_interrupt:
        assert await held_conversations(b) == (left := left - 5)
        await renewed(b, "b")
    assert await held_conversations(b) == 0
    assert await a.replicas.renew(requested("a")) is None
    assert (await b.claim_several(Permit(SLACK), POLICY, NOON + HOUR)).works
    assert (await b.balance(None)).off == 0


async def test_a_session_is_renewed_until_all_is_freed(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "_INTERRUPTED_AT_ONCE", 5)
    a, b = two
    await a.replicas.join(requested("a"))
    membership = Membership(
        store=b, clock=SystemClock(), metrics=Metrics(), name="b", term=HOUR, rules=JudgedBy
    )
    await membership.join()
    await begin_storm(a)
    await b.database.write(expire)
    serving = asyncio.create_task(membership.serve())  # by itself, it renews every quarter of an hour
    while await held_conversations(b):
        assert not serving.done()
    serving.cancel()


async def test_a_replica_leaves_when_nothing_is_held_any_more(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not by a replica that has died, whose conversations it had begun to free."""
    monkeypatch.setattr(starts, "_INTERRUPTED_AT_ONCE", 5)
    a, b = await joined(two)
    await begin_storm(a)
    await b.database.write(expire)
    assert (await renewed(b, "b")).expelled
    assert b.replicas.has_more_to_interrupt
    await begin_delivery(b)
    await b.replicas.leave("b")
    assert await held_conversations(b) == 0
    assert not (await b.replicas.view()).replicas


async def test_a_renewal_overtakes_what_waits_for_the_writer(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise many webhooks at once would cost the leases. It also has room in a full queue."""
    monkeypatch.setattr(writer, "_MAX_QUEUED_JOBS", 1)
    ended: list[str] = []

    async def note(what: str, work: Awaitable[object]) -> None:
        await work
        ended.append(what)

    a, _ = two
    await a.replicas.join(requested("a"))
    large = webhook(*(alert(f"Down{number}", "critical") for number in range(200)))
    async with asyncio.TaskGroup() as group, busy_writer(a):
        group.create_task(note("accept", a.accept(large, "default", b"{}", POLICY, NOON)))
        await until_queued(a, 1)
        for number, work in enumerate((a.replicas.renew(requested("a")), a.replicas.release("a", BOTH))):
            group.create_task(note("lease", work))
            await until_queued(a, 2 + number)
        with pytest.raises(StoreUnavailable, match="writes are waiting"):
            await a.accept(webhook(alert("Up", "info")), "default", b"{}", POLICY, NOON)
    assert ended == ["lease", "lease", "accept"]


async def test_what_waits_is_written_before_a_replica_leaves(two: tuple[Store, Store]) -> None:
    """Otherwise the outcome of a message that was sent would come too late, and it would be sent again."""
    a, b = two
    await a.replicas.join(requested("a"))
    await a.accept(webhook(alert("Down", "critical")), "default", b"{}", POLICY, NOON)
    (work,) = (await a.claim_several(Permit(SLACK), POLICY, NOON)).works
    async with asyncio.TaskGroup() as group, busy_writer(a):
        group.create_task(a.record(work, Delivered({}), POLICY, NOON, NOON))
        await until_queued(a, 1)
        group.create_task(a.replicas.leave("a"))
        await until_queued(a, 2)
    await b.replicas.join(requested("b"))
    assert not (await b.claim_several(Permit(SLACK), POLICY, NOON + HOUR)).works


async def test_an_expired_replica_is_expelled_and_told_so(two: tuple[Store, Store]) -> None:
    a, b = await joined(two)
    await begin_delivery(a)
    assert not (await renewed(b, "b")).expelled
    await b.database.write(expire)
    renewal = await renewed(b, "b")
    assert [each.id for each in renewal.expelled] == ["a"]
    assert renewal.taken == held(renewal, "b") == BOTH
    assert {(each.fence, each.passed_on) for each in renewal.leases} == {(2, EXPIRED)}
    assert (await b.claim_several(Permit(SLACK), POLICY, NOON + MINUTE)).works
    assert await a.replicas.renew(requested("a")) is None
    again = await a.replicas.join(requested("c"))
    assert [each.id for each in again.replicas] == ["b", "c"]
    assert not held(again, "c")


async def test_the_next_holder_makes_due_what_was_left_under_way(two: tuple[Store, Store]) -> None:
    a, b = await joined(two)
    await begin_delivery(a)
    await a.replicas.release("a", (LANES,))
    assert (await renewed(b, "b")).taken == {LANES}
    found = []
    for fence, channels in ((1, ("slack",)), (2, ()), (2, ("email", "slac")), (2, ("email", "slack"))):
        await b.replicas.begin_lanes(Grant(LANES, fence), channels)
        found.append(len((await b.claim_several(Permit(SLACK), POLICY, NOON + MINUTE)).works))
    assert found == [0, 0, 0, 1]
    await a.replicas.begin_lanes(Grant(LANES, 1), ("slack",))  # it stood still, and knows of no other holder
    await b.replicas.begin_lanes(Grant(LANES, 2), ("slack",))  # again, because its lanes could not be opened
    assert not (await b.claim_several(Permit(SLACK), POLICY, NOON + MINUTE)).works


async def test_a_lease_that_no_rules_need_any_more_is_given_up(two: tuple[Store, Store]) -> None:
    a, _ = two
    await a.replicas.join(requested("a"))
    renewal = await a.replicas.renew(requested("a", (BACKGROUND,)))
    assert renewal is not None
    assert renewal.surplus == {LANES}


async def test_a_process_that_is_alone_has_no_session_and_no_lease(store: Store, kind: str) -> None:
    membership = Membership(
        store=store, clock=SystemClock(), metrics=Metrics(), name="a", term=10 * SECOND, rules=JudgedBy
    )
    assert store.replicas.are_possible is (kind == "postgresql")
    assert membership.is_alone is (kind == "sqlite")
    if not membership.is_alone:
        return
    await membership.join()
    await membership.serve()  # there is nothing to keep
    assert membership.is_trusted
    assert (membership.session, membership.renewal, membership.held) == ("", None, frozenset())
    await membership.leave()
    for table in (replicas, leases):
        assert not await store.database.read(
            lambda connection, table=table: connection.execute(sa.select(table)).all()  # type: ignore[misc]
        )


# The states of lanes.


async def grant(store: Store, replica: str | None, fence: int) -> Grant:
    """Let a session hold the lease of the lanes; None: nobody."""

    def put(connection: sa.Connection) -> None:
        connection.execute(sa.delete(leases))
        row = LeaseRow(LANES, replica, fence, NOON, "")
        connection.execute(sa.insert(leases).values(**row._asdict()))

    store.database.session = "me"
    await store.database.write(put)
    return Grant(LANES, fence)


async def test_only_the_holder_of_a_lease_publishes(store: Store) -> None:
    mine = await grant(store, "me", 3)
    assert await store.lanes.read() == {}
    one, two = StoredLane("slack:C1", '{"a": 1}'), StoredLane("slack:C2 %_", "{}")
    assert await store.lanes.publish({mine: [one, two]}, (), NOON) == {mine}
    assert await store.lanes.read() == {one.name: one.state, two.name: two.state}
    changed = one._replace(state='{"a": 2}')
    late, other = Grant(LANES, 2), Grant(BACKGROUND, 3)
    for stale in (late, other):
        assert stale not in await store.lanes.publish({stale: [changed]}, (), NOON)
    assert (await store.lanes.read())[one.name] == one.state
    assert await store.lanes.publish({mine: [changed], late: [two]}, (two.name,), NOON) == {mine}
    assert await store.lanes.read() == {one.name: changed.state}
    for replica in ("another", None):
        await grant(store, replica, 3)
        assert not await store.lanes.publish({mine: [one]}, (), NOON)
    assert await store.lanes.read() == {one.name: changed.state}


async def test_very_many_states_are_published_at_once(store: Store) -> None:
    mine = await grant(store, "me", 1)
    many = [StoredLane(f"slack:{number}", "{}") for number in range(1_200)]
    for _ in range(2):
        await store.lanes.publish({mine: many}, (), NOON)
        assert len(await store.lanes.read()) == len(many)
    await store.lanes.publish({mine: []}, [each.name for each in many], NOON)
    assert await store.lanes.read() == {}


@pytest.mark.parametrize(("holder", "is_kept"), [("me", True), ("another", True), (None, False)])
async def test_a_state_is_not_forgotten_while_its_lease_is_held(
    store: Store, holder: str | None, *, is_kept: bool
) -> None:
    mine = await grant(store, "me", 1)
    await store.lanes.publish({mine: [StoredLane("slack:C1", "{}"), StoredLane("slack:C2", "{}")]}, (), NOON)
    await grant(store, holder, 1)
    await store.lanes.forget("slack:C1", LANES)
    assert ("slack:C1" in await store.lanes.read()) is is_kept
    assert "slack:C2" in await store.lanes.read()


async def test_a_state_without_any_lease_is_forgotten(store: Store) -> None:
    mine = await grant(store, "me", 1)
    await store.lanes.publish({mine: [StoredLane("slack:C1", "{}")]}, (), NOON)
    await store.lanes.forget("slack:C1", lanes_lease("email"))
    assert await store.lanes.read() == {}


async def test_trouble_is_stored_only_by_the_holder(store: Store) -> None:
    mine = await grant(store, "me", 2)
    trouble = Trouble("slack:C1", NOON, "slack:C1", "no")
    await store.save_trouble(trouble, mine)
    with pytest.raises(LeaseLost):
        await store.save_trouble(Trouble("slack:C1", NOON + 1, "slack:C1", "no"), Grant(LANES, 1))
    with pytest.raises(LeaseLost):
        await store.delete_trouble("slack:C1", Grant(LANES, 1))
    assert (await store.troubles())[0] == [trouble]
    await store.delete_trouble("slack:C1", mine)
    assert (await store.troubles())[0] == []


# Requests to lanes.


async def test_requests_are_answered_in_their_order(store: Store) -> None:
    asked = [
        await store.lane_requests.ask(f"slack:{name}", action, "ada", NOON)
        for name, action in (("C2", "pause"), ("C1", "resume"), ("C2", "resume"))
    ]
    assert asked == sorted(set(asked))
    found = await store.lane_requests.unanswered(NOON)
    assert [(each.id, each.destination, each.action, each.actor) for each in found] == [
        (asked[0], "slack:C2", "pause", "ada"),
        (asked[1], "slack:C1", "resume", "ada"),
        (asked[2], "slack:C2", "resume", "ada"),
    ]
    await store.lane_requests.answer(asked[1], '"done"', NOON)
    assert [each.id for each in await store.lane_requests.unanswered(NOON)] == [asked[0], asked[2]]
    assert await store.lane_requests.answer_to(asked[1]) == '"done"'
    assert await store.lane_requests.answer_to(asked[0]) is None
    assert await store.lane_requests.answer_to(asked[2] + 1) is None


async def test_a_second_answer_changes_nothing(store: Store) -> None:
    asked = await store.lane_requests.ask("slack:C1", "resume", "ada", NOON)
    for answer in ('"first"', '"second"'):
        await store.lane_requests.answer(asked, answer, NOON)
    assert await store.lane_requests.answer_to(asked) == '"first"'


async def test_a_request_waits_for_an_answer_for_a_minute(store: Store) -> None:
    asked = await store.lane_requests.ask("slack:C1", "resume", "ada", NOON)
    for after, is_open in ((0, True), (MINUTE - 1, True), (MINUTE, False), (HOUR, False)):
        found = await store.lane_requests.unanswered(NOON + after)
        assert [each.id for each in found] == ([asked] if is_open else []), after


async def test_old_requests_are_deleted_when_others_come(store: Store) -> None:
    asked = [
        await store.lane_requests.ask("slack:C1", "resume", "ada", NOON + after)
        for after in (0, MINUTE, HOUR, HOUR + 1)
    ]
    left = await store.database.read(
        lambda connection: connection.execute(sa.select(lane_requests.c.id)).scalars().all()
    )
    assert sorted(left) == asked[1:]
    assert len(set(asked)) == len(asked)


async def test_only_the_holder_changes_a_pause_and_only_as_asked(store: Store) -> None:
    mine, pauses, key = await grant(store, "me", 2), store.pauses, "slack:C1"
    first, second = [await store.lane_requests.ask(key, "pause", "ada", NOON) for _ in range(2)]
    for change in (partial(pauses.begin, key, "ada"), partial(pauses.end, key)):
        for request in (None, second):
            with pytest.raises(LeaseLost):
                await change(NOON, Grant(LANES, 1), request)
    assert await pauses.read() == {}
    await pauses.begin(key, "ada", NOON, mine, second)
    assert [each.id for each in await store.lane_requests.unanswered(NOON)] == [first, second]
    await pauses.end(key, NOON + 1, mine)
    assert await store.lane_requests.unanswered(NOON) == []  # they are older
    await store.lane_requests.ask("slack:C2", "pause", "ada", NOON)
    for request in (first, second):
        with pytest.raises(RequestClosed):
            await pauses.begin(key, "ada", NOON + 2, mine, request)
    assert (await pauses.read())[key].until == NOON + 1
    await pauses.begin(key, "ada", NOON + 2, mine)
    with pytest.raises(RequestClosed):
        await pauses.end(key, NOON + 3, mine, first)
    assert (await pauses.read())[key].until is None
    assert len(await store.lane_requests.unanswered(NOON)) == 1  # of another destination
