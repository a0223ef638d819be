"""Uptime of several replicas: what counts is whether any of them ran."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from router.core.adopt import CURSOR, Adoption
from router.core.head import LAST_TIME
from router.decide import Policy, Route, Severity
from router.model import HOUR, MINUTE, SECOND, Millis
from router.store import Store
from router.store.clock_steps import UNFINISHED_STEP, begin_step
from router.store.rule_changes import RuleChanges
from router.store.schema import meta
from router.store.starts import set_meta

NOON: Millis = 1_795_435_200_000
POLICY = Policy(severity=Severity(), root=Route("route", "all"), receivers={"all": ()}, fingerprint="1")


OTHER = replace(POLICY, fingerprint="2")


async def watch(store: Store, now: Millis, *, has_run: bool = False) -> Millis:
    return await store.timekeeping.watch(POLICY, now, has_run=has_run, judging=False)


async def left(store: Store) -> set[str]:
    """Return what is left to do after a step: the step itself, and the judging by the new time."""
    keys = sa.select(meta.c.key).where(meta.c.key.in_((UNFINISHED_STEP, CURSOR)))
    return await store.database.read(lambda c: set(c.execute(keys).scalars()))


async def test_time_counts_from_the_first_start_while_any_replica_runs(store: Store) -> None:
    assert await watch(store, NOON) == NOON
    for minute in range(1, 5):  # of one replica or of another
        assert await watch(store, NOON + minute * MINUTE) == NOON


async def test_only_the_first_replica_after_a_gap_begins_a_step(store: Store) -> None:
    await watch(store, NOON)
    assert await watch(store, NOON + HOUR) == NOON + HOUR
    assert await watch(store, NOON + HOUR + SECOND) == NOON + HOUR


async def test_a_step_back_is_seen_once(store: Store) -> None:
    await watch(store, NOON)
    assert await watch(store, NOON - MINUTE) == NOON - MINUTE
    assert await watch(store, NOON - MINUTE + SECOND) == NOON - MINUTE


async def test_a_small_step_back_is_seen_by_the_time_of_the_last_batch(store: Store) -> None:
    await watch(store, NOON)
    await store.database.write(lambda c: set_meta(c, LAST_TIME, str(NOON + 30 * SECOND)))
    assert await watch(store, NOON + 20 * SECOND) == NOON + 20 * SECOND
    assert await watch(store, NOON + 21 * SECOND) == NOON + 20 * SECOND


async def test_a_replica_that_ran_all_the_time_knows_that_there_was_no_gap(store: Store) -> None:
    await watch(store, NOON)
    assert await watch(store, NOON + HOUR, has_run=True) == NOON
    assert await watch(store, NOON + HOUR + SECOND) == NOON


async def test_a_step_back_is_left_to_a_replica_with_the_rules_in_force(store: Store) -> None:
    await watch(store, NOON)
    await store.rules.adopt(Adoption(OTHER), NOON)
    await store.rules.judge_all(OTHER, NOON)
    for judging in (False, True):  # at its start, and later
        await store.timekeeping.watch(POLICY, NOON - HOUR, has_run=False, judging=judging)
        assert await left(store) == {UNFINISHED_STEP, CURSOR}
    assert await store.timekeeping.watch(OTHER, NOON - HOUR, has_run=False, judging=True) == NOON - HOUR
    assert not await left(store)


async def test_a_step_that_begins_while_one_is_judged_is_finished_as_well(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_all, judged = RuleChanges.judge_all, 0
    await store.rules.adopt(Adoption(POLICY), NOON)

    async def another_step(rules: RuleChanges, policy: Policy, now: Millis) -> None:
        nonlocal judged
        judged += 1
        await judge_all(rules, policy, now)
        if judged == 1:
            await store.database.write(lambda c: begin_step(c, now - HOUR, back=True))

    monkeypatch.setattr(RuleChanges, "judge_all", another_step)
    await store.timekeeping.step_clock(POLICY, NOON - HOUR, back=True)
    assert judged == 2
    assert not await left(store)
