"""An inhibitor of very many alerts ends: they are judged in pieces, after its webhook was accepted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from router.model import HOUR, Alert, Status
from router.store import Idle
from tests.unit.core.memory import at_once
from tests.unit.core.world import TEAM, World, alert
from tests.unit.store.sqlite_world import in_sqlite

MUTED = 5


def warning(number: int) -> Alert:
    muted = alert("A", "warning")
    return replace(muted, labels={**muted.labels, "n": str(number)})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Many warnings that a critical mutes."""
    monkeypatch.setattr("router.store.queries.alert_queries.MANY", 2)
    monkeypatch.setattr("router.core.release.MANY", 2)
    monkeypatch.setattr("router.store.jobs.job.MEMBERS_PER_BATCH", 2)
    with in_sqlite() as database:
        world = World(database=database)
        world.post(alert("A", "critical"))
        for number in range(MUTED):
            world.post(warning(number), group=f"g{number}")
        world.now += HOUR
        assert isinstance(world.begin(TEAM), Idle)
        yield world


def release(world: World) -> frozenset[str]:
    return at_once(world.store.presence.release(world.policy, world.now))


def test_the_end_of_an_inhibitor_leaves_alerts_to_release(world: World) -> None:
    world.store.presence.unreleased.clear()
    assert world.post(alert("A", "critical", Status.RESOLVED)).unreleased
    assert world.store.presence.unreleased.is_set()
    assert isinstance(world.begin(TEAM), Idle)


def test_all_muted_alerts_are_judged(world: World) -> None:
    world.post(alert("A", "critical", Status.RESOLVED))
    assert TEAM.key in release(world)
    world.now += HOUR
    world.deliver()
    world.assert_balanced()
    assert Counter(world.fates(TEAM)) == {"delivered": MUTED}
    assert release(world) == frozenset()


def test_after_a_kill_the_next_process_judges_the_rest(world: World) -> None:
    world.post(alert("A", "critical", Status.RESOLVED))
    world.restart()
    release(world)
    world.now += HOUR
    world.deliver()
    assert Counter(world.fates(TEAM)) == {"delivered": MUTED}


def test_alerts_that_are_muted_again_stay_muted(world: World) -> None:
    world.post(alert("A", "critical", Status.RESOLVED))
    world.now += HOUR
    world.post(alert("A", "critical", Status.FIRING, world.now))
    release(world)
    world.now += HOUR
    assert isinstance(world.begin(TEAM), Idle)
    assert Counter(world.fates(TEAM)) == {"inhibited": MUTED}
