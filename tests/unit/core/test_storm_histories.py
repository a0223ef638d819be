"""After any storm, delivered groups were named, and ends were sent where firings were."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given

from router.core.rows import OPEN
from router.model import SECOND
from router.store import Limits
from tests.examples import examples
from tests.unit.core.storm_stories import STORM_STEPS, StormHistory
from tests.unit.core.world import TEAM


@pytest.mark.parametrize("edits", [True, False])
@pytest.mark.parametrize("room", [10_000, 60])
def test_every_storm_ends_with_a_balanced_ledger(*, edits: bool, room: int) -> None:
    met: Counter[str] = Counter()

    @given(STORM_STEPS)
    @examples(100)
    def play(steps: list[tuple[str, Any]]) -> None:
        nonlocal met
        storm = StormHistory(Limits(above=2, every=5 * SECOND, room=room, edits=edits))
        provider = storm.world.providers[TEAM.key]
        refused = _play(storm, steps)
        assert refused or provider.all_firing == storm.firing
        assert set(storm.world.fates(TEAM)) <= {"delivered", "obsolete"} | ({"dead"} if refused else set())
        _end_all(storm, refused=refused)
        assert refused or provider.all_firing == set()
        met += storm.met

    play()
    assert met["storms"] > 20
    assert met["over"] > 4
    assert met["resolved"] > 4
    assert bool(met["more"]) == (room < 1_000)


@pytest.mark.parametrize("edits", [True, False])
def test_no_storm_message_is_sent_for_an_end_alone(*, edits: bool) -> None:
    """With ``send_resolved: false``; the history checks each message that it begins to send."""
    met: Counter[str] = Counter()

    @given(STORM_STEPS)
    @examples(100)
    def play(steps: list[tuple[str, Any]]) -> None:
        nonlocal met
        limits = Limits(above=2, every=5 * SECOND, edits=edits)
        storm = StormHistory(limits, send_resolved=False)
        refused = _play(storm, steps)
        assert refused or storm.firing <= storm.world.providers[TEAM.key].all_firing
        fates = {"delivered", "obsolete", "dropped"} | ({"dead"} if refused else set())
        assert set(storm.world.fates(TEAM)) <= fates
        _end_all(storm, refused=refused)
        met += storm.met

    play()
    assert met["storms"] > 20
    assert not met["over"]


def _play(storm: StormHistory, steps: list[tuple[str, Any]]) -> bool:
    """Return whether the provider refused a message."""
    for step in steps:
        storm.step(*step)
    storm.settle()
    return ("finish", "refused") in steps


def _end_all(storm: StormHistory, *, refused: bool) -> None:
    """Everything ends; then no conversation stays open, unless a dead letter keeps it open."""
    storm.step("end", list("ABCDEFGH"))
    storm.settle()
    conversations = storm.world.state.conversations
    assert refused or not [row for row in conversations if row.state == OPEN and row.slot is None]
