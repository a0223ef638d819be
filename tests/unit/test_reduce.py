"""What a told alert means against what was known of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import HOUR, SECOND, Alert, Change, Millis, Status
from router.reduce import Known, reduce

FIRING, RESOLVED = Status.FIRING, Status.RESOLVED


def alert(status: Status, starts_at: Millis | None = 1_000, ends_at: Millis | None = None) -> Alert:
    return Alert("f", {}, {}, status, starts_at, ends_at)


def after(*told: tuple[Alert, str, Millis]) -> tuple[list[Change], Known]:
    known: Known | None = None
    changes = []
    for each, peer, now in told:
        change, known = reduce(known, each, peer, now)
        changes.append(change)
    assert known is not None
    return changes, known


def test_told_again_is_a_repeat() -> None:
    changes, _ = after(
        (alert(FIRING), "a", 0), (alert(FIRING), "a", 1), (alert(RESOLVED), "a", 2), (alert(RESOLVED), "a", 3)
    )
    assert changes == [Change.FIRED, Change.REPEATED, Change.RESOLVED, Change.REPEATED]


def test_the_other_peers_echo_of_a_firing_that_ended_is_a_repeat() -> None:
    changes, known = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), (alert(FIRING), "b", 15 * SECOND)
    )
    assert changes[-1] is Change.REPEATED
    assert known.alert.status is RESOLVED


def test_the_same_alertmanagers_firing_after_its_resolve_is_news_even_with_the_old_start() -> None:
    changes, _ = after((alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), (alert(FIRING), "a", 20))
    assert changes[-1] is Change.FIRED


def test_the_other_peers_firing_long_after_is_news() -> None:
    changes, _ = after((alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), (alert(FIRING), "b", HOUR))
    assert changes[-1] is Change.FIRED


@pytest.mark.parametrize("starts_at", [None, 500, 1_000, 2_000])
def test_what_nobody_resolved_fires_anew_whoever_says_so(starts_at: Millis | None) -> None:
    changes, _ = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "", 10), (alert(FIRING, starts_at), "b", 20)
    )
    assert changes[-1] is Change.FIRED


def test_what_nobody_resolved_is_resolved_by_a_late_resolve_and_then_has_echoes() -> None:
    changes, known = after(
        (alert(FIRING), "a", 0),
        (alert(RESOLVED), "", 10),
        (alert(RESOLVED), "a", 20),
        (alert(FIRING), "b", 30),
    )
    assert changes[-2:] == [Change.REPEATED, Change.REPEATED]
    assert known.peer == "a"


def test_a_late_resolve_of_an_earlier_firing_ends_nothing() -> None:
    changes, known = after((alert(FIRING, 5_000), "a", 0), (alert(RESOLVED, 1_000, 2_000), "a", 1))
    assert changes[-1] is Change.REPEATED
    assert known.alert.status is FIRING


def test_a_resolve_of_a_firing_whose_start_moved_ends_it() -> None:
    changes, _ = after((alert(FIRING, 5_000), "a", 0), (alert(RESOLVED, 1_000, 9_000), "a", 1))
    assert changes[-1] is Change.RESOLVED


@pytest.mark.parametrize("starts_at", [None, 1_000])
def test_an_alert_without_times_fires_and_ends(starts_at: Millis | None) -> None:
    changes, _ = after(
        (alert(FIRING, starts_at), "a", 0), (alert(RESOLVED, None), "a", 1), (alert(FIRING, None), "a", 2)
    )
    assert changes == [Change.FIRED, Change.RESOLVED, Change.FIRED]


_told = st.tuples(
    st.builds(alert, st.sampled_from([FIRING, RESOLVED]), st.sampled_from([None, 1_000, 2_000])),
    st.sampled_from("ab"),
    st.integers(0, HOUR),
)


@given(st.lists(_told, min_size=1, max_size=12))
def test_whatever_is_told_twice_in_a_row_changes_nothing_the_second_time(
    told: list[tuple[Alert, str, Millis]],
) -> None:
    known: Known | None = None
    for each, peer, now in told:
        _, known = reduce(known, each, peer, now)
        change, again = reduce(known, each, peer, now)
        assert change is Change.REPEATED
        assert again.alert.status is known.alert.status
