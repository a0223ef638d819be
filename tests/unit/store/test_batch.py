"""Jobs of one batch: a job that fails leaves nothing behind, and the others are as if each had a batch of its own."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.accept import Receipt
from router.core.record import Recorded
from router.core.state import State
from router.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Delivered,
    Outcome,
    Rejected,
    Retention,
    Retry,
    Status,
)
from router.store import ClaimedDelivery, Idle, Permit, Store, jobs
from router.store.batch import Direct, JobResult
from router.store.jobs import Job
from tests.examples import examples
from tests.quarantine import quarantined
from tests.unit.core.stories import ALERTS, STEPS, History
from tests.unit.core.world import ALL, MONDAY, PAGER, PER_ALERT, POLICY, RULES, SLACK, World, alert, webhook
from tests.unit.store.sqlite_world import collected, contents, in_sqlite


def an_accept(name: str, now: int = MONDAY) -> jobs.Accept:
    return jobs.Accept(webhook(alert(name, "critical"), group=name), "default", b"{}", POLICY, now)


@dataclass(frozen=True, slots=True)
class Broken(jobs.Accept):
    """Runs the whole transition of an accept, and then raises."""

    error: BaseException = KeyError("x")  # noqa: RUF009  (it is never changed)

    def run(self, state: State) -> Any:
        jobs.Accept.run(self, state)
        raise self.error


@dataclass(frozen=True, slots=True)
class Refused(jobs.Quarantine):
    """Its row can't be saved: a body must not be null."""

    def run(self, state: State) -> int:
        number = jobs.Quarantine.run(self, state)
        state.webhooks.put(state.webhooks[number]._replace(body=None))  # type: ignore[arg-type]
        return number


def test_a_job_that_raises_leaves_nothing_behind() -> None:
    good = [an_accept(name) for name in "AC"]
    bad = Broken(webhook(alert("B", "critical")), "default", b"{}", POLICY, MONDAY)
    with in_sqlite() as database, in_sqlite() as without:
        results = database.batch(good[0], bad, good[1])
        without.batch(*good)
        assert [type(each.error) for each in results] == [type(None), KeyError, type(None)]
        assert contents(database.state) == contents(without.state)


def test_a_batch_leaves_nothing_to_the_garbage_collector() -> None:
    """Its pauses would delay webhooks."""

    def garbage(*batch: Job[Any] | Direct) -> list[object]:
        gc.collect()
        database.batch(*batch)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        found = [each for each in gc.garbage if type(each).__module__.startswith("router.")]
        gc.garbage.clear()
        return found

    claim = jobs.Claim(Permit(SLACK), POLICY, MONDAY)
    with in_sqlite() as database:
        gc.disable()
        try:
            database.batch(an_accept("A"), claim, Direct(lambda _: None))
            assert not garbage(an_accept("B"), claim)
            assert not garbage(an_accept("C"), Direct(lambda _: None), claim)
        finally:
            gc.enable()


@pytest.mark.parametrize("count", [7, 8, 9, 20])
def test_a_claim_that_leaves_something_due_says_so(count: int) -> None:
    """Also while a large delivery is under way, when it looks at more conversations than it examines."""
    permit = Permit(SLACK, count=8, skips_large=True)
    with in_sqlite() as database:
        database.batch(*(an_accept(str(number)) for number in range(count)))
        claimed = database.one(jobs.Claim(permit, POLICY, MONDAY))
    assert len(claimed.works) == min(count, 8)
    assert claimed.idle == (None if count > 8 else Idle(None))


async def test_if_a_batch_cannot_be_saved_only_the_bad_job_fails(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/router.db")
    refused = Refused(b"x", "default", "r", 1, None)
    writes = [store.quarantine(b"x", "default", "r", 1) for _ in range(3)]
    answers = await asyncio.gather(writes[0], store.database.do(refused), *writes[1:], return_exceptions=True)
    kept = await quarantined(store)
    await store.close()
    assert [isinstance(each, int) for each in answers] == [True, False, True, True]
    assert "NOT NULL" in str(answers[1])
    assert sorted(row.id for row in kept) == sorted(each for each in answers if isinstance(each, int))


async def test_no_id_is_reused_after_pruning_and_a_restart(tmp_path: Path) -> None:
    url, seen = f"sqlite:///{tmp_path}/router.db", []
    for start in range(3):
        store = await Store.open(url)
        now = MONDAY + start * 40 * DAY
        await store.start(now)
        seen += [await store.quarantine(b"x", "default", "r", now) for _ in range(3)]
        async for _ in store.prune(Retention(history=HOUR, webhooks=HOUR), now + DAY):
            pass
        assert await quarantined(store) == []
        await store.close()
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)


def test_the_id_of_a_pruned_row_is_not_reused() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        numbers: set[int] = set()
        for _ in range(3):
            for status in Status:
                world.post(alert("Down", "critical", status, starts_at=world.now))
                world.deliver()
            changes = {row.id for row in world.state.changes}
            assert not changes & numbers
            numbers |= changes
            world.now += 40 * DAY
            world.deliver()
            collected(world.store.prune(Retention(), world.now))


_OUTCOMES: tuple[Outcome, ...] = (
    Delivered({"ts": "1"}), Retry("http 503"), Retry("timeout", ambiguous=True), Rejected("http 400")
)  # fmt: skip
_posts = st.tuples(
    st.sampled_from(list(Status)), st.lists(ALERTS, min_size=1, max_size=3, unique=True),
    st.sampled_from("gh"), st.sampled_from([0, 0, 3]),
)  # fmt: skip
_chosen = st.lists(
    st.one_of(
        st.tuples(st.just("post"), _posts),
        st.tuples(st.just("post"), _posts),
        st.tuples(st.just("record"), st.tuples(st.sampled_from(ALL), st.sampled_from(_OUTCOMES))),
        st.tuples(st.just("letter"), st.tuples(st.integers(0, 3), st.booleans())),
        st.tuples(st.just("slots"), st.none()),
        st.tuples(st.just("raise"), _posts),
    ),
    min_size=2,
    max_size=12,
)


class Prelude:
    """Plays the same history in each database, and then jobs of it."""

    def __init__(self, world: World, steps: list[Any]) -> None:
        self.world = world
        history = History(world, checked=False)
        for step in steps:
            history.play(*step)
        world.now += 20 * SECOND
        self.works = history._under_way
        for destination in ALL:
            if destination.key not in self.works and isinstance(
                work := world.begin(destination), ClaimedDelivery
            ):
                self.works[destination.key] = work
        world.now += MINUTE

    def jobs(self, chosen: list[Any]) -> list[Job[Any]]:
        world, letters, works = self.world, self.world.letters(), dict(self.works)
        found: list[Job[Any]] = []
        for kind, what in chosen:
            match kind:
                case "post" | "raise":
                    status, reports, group, truncated = what
                    alerts = (alert(name, level, status, world.now) for name, level in reports)
                    body = webhook(*alerts, group=group, truncated=truncated)
                    accept = Broken if kind == "raise" else jobs.Accept
                    found.append(accept(body, "default", b"{}", world.policy, world.now))
                case "record" if (work := works.pop(what[0].key, None)) is not None:
                    found.append(jobs.Record(work, what[1], world.policy, world.now, world.now))
                case "letter" if letters:
                    letter = letters[what[0] % len(letters)]
                    retry = jobs.RetryDeadLetter(letter, world.policy, world.now)
                    found.append(retry if what[1] else jobs.DiscardDeadLetter(letter, world.now))
                case "slots":
                    found.append(jobs.OpenSlots(world.policy, world.now))
        return found


@given(STEPS, _chosen, st.sampled_from(RULES))
@examples(20)
def test_jobs_in_one_batch_do_the_same_as_in_separate_batches(
    steps: list[Any], chosen: list[Any], rules: Any
) -> None:
    """A set that is loaded for a later job overwrites nothing that an earlier one has changed."""
    with in_sqlite() as together, in_sqlite() as apart:
        preludes = [Prelude(World(policy=rules, database=each), steps) for each in (together, apart)]
        several = preludes[0].jobs(chosen)
        results = together.batch(*several)
        others = [result for job in preludes[1].jobs(chosen) for result in apart.batch(job)]
        assert [(each.value, str(each.error)) for each in results] == [
            (each.value, str(each.error)) for each in others
        ]
        mine, other = contents(together.state), contents(apart.state)
        for table, rows in other.items():
            assert mine[table] == rows, table
        world = preludes[0].world
        world.accepted = sum(1 for _ in world.state.changes)
        world.assert_balanced()


@given(STEPS, _chosen, st.sampled_from(RULES), st.sets(st.sampled_from(range(len(ALL)))))
@examples(20)
def test_a_lane_that_no_job_wakes_knows_by_its_claim_when_to_look_again(
    steps: list[Any], chosen: list[Any], rules: Any, claiming: set[int]
) -> None:
    with in_sqlite() as together, in_sqlite() as without:
        preludes = [Prelude(World(policy=rules, database=each), steps) for each in (together, without)]
        world, several = preludes[0].world, preludes[0].jobs(chosen)
        claims = [
            jobs.Claim(jobs.Permit(ALL[each], count=2), world.policy, world.now) for each in sorted(claiming)
        ]
        results = together.batch(*claims, *several)
        missing = _woken(without.batch(*preludes[1].jobs(chosen))) - _woken(results)
        idle = {
            result.job.permit.destination.key: result.value.idle
            for result in results
            if isinstance(result.job, jobs.Claim) and isinstance(result.value, jobs.Claimed)
        }
        for key in missing:
            assert (found := idle[key]) is not None
            waiting = [row for row in together.state.conversations if row.destination == key]
            assert not any(row.next_at <= world.now for row in waiting if row.next_at is not None)
            next_at = min((row.next_at for row in waiting if row.next_at is not None), default=None)
            assert next_at is None or (found.until is not None and found.until <= next_at)


def _woken(results: Sequence[JobResult]) -> frozenset[str]:
    """Return the destinations whose lanes the results wake."""
    found = (each.value.wake for each in results if isinstance(each.value, Receipt | Recorded))
    return frozenset().union(*found)


def test_a_lane_that_claims_in_the_batch_of_a_webhook_is_not_woken() -> None:
    with in_sqlite() as database:
        claim = jobs.Claim(jobs.Permit(SLACK), POLICY, MONDAY)
        claimed, accepted = database.batch(claim, an_accept("A"))
        assert len(claimed.value.works) == 1
        assert claimed.value.idle == jobs.Idle(None)
        assert accepted.value.wake == {PAGER.key, PER_ALERT.key}


def test_a_lane_that_has_more_to_claim_is_woken() -> None:
    with in_sqlite() as database:
        claim = jobs.Claim(jobs.Permit(SLACK), POLICY, MONDAY)
        claimed, *accepted = database.batch(claim, an_accept("A"), an_accept("B"))
        assert len(claimed.value.works) == 1
        assert claimed.value.idle is None
        assert all(SLACK.key in each.value.wake for each in accepted)


def test_a_claim_of_what_is_overdue_does_not_stop_a_lane_from_being_woken() -> None:
    with in_sqlite() as database:
        claim = jobs.Claim(jobs.Permit(SLACK, overdue=HOUR), POLICY, MONDAY)
        claimed, accepted = database.batch(claim, an_accept("A"))
        assert claimed.value.works == ()
        assert SLACK.key in accepted.value.wake
