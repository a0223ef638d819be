"""What a report changes in what is known about an alert."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.reduce import PEER_LAG, Doubt, Known, reduce_alert
from router.model import HOUR, MINUTE, SECOND, Alert, Change, Millis, Status

FIRING, RESOLVED = Status.FIRING, Status.RESOLVED


def alert(status: Status, starts_at: Millis | None = 1_000, ends_at: Millis | None = None) -> Alert:
    return Alert("f", {}, {}, status, starts_at, ends_at)


def after(*reports: tuple[Alert, str, Millis]) -> tuple[list[Change], Known]:
    known: Known | None = None
    changes = []
    for each, peer, now in reports:
        change, known = reduce_alert(known, each, peer, now)
        changes.append(change)
    assert known is not None
    return changes, known


def test_a_repeated_report_is_a_repeat() -> None:
    changes, _ = after(
        (alert(FIRING), "a", 0), (alert(FIRING), "a", 1), (alert(RESOLVED), "a", 2), (alert(RESOLVED), "a", 3)
    )
    assert changes == [Change.FIRED, Change.REPEATED, Change.RESOLVED, Change.REPEATED]


PEERS = pytest.mark.parametrize("peer", ["a", "b"])
OLDER = pytest.mark.parametrize("starts_at", [1_000, 999, 1])


@PEERS
@OLDER
@pytest.mark.parametrize("late", [0, 15 * SECOND, PEER_LAG - 1])
def test_a_firing_not_newer_than_an_end_just_before_is_a_doubt(
    peer: str, starts_at: Millis, late: Millis
) -> None:
    changes, known = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), (alert(FIRING, starts_at), peer, 10 + late)
    )
    assert changes[-1] is Change.REPEATED
    assert known.alert.status is RESOLVED
    assert known.doubt == Doubt(alert(FIRING, starts_at), 10 + PEER_LAG)


@PEERS
def test_another_report_of_a_doubt_does_not_prolong_it(peer: str) -> None:
    firing = ((alert(FIRING), peer, at) for at in (20, MINUTE, 4 * MINUTE))
    _, known = after((alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), *firing)
    assert known.doubt is not None
    assert known.doubt.until == 10 + PEER_LAG


@PEERS
def test_another_end_contradicts_a_doubt(peer: str) -> None:
    changes, known = after(
        (alert(FIRING), "a", 0),
        (alert(RESOLVED), "a", 10),
        (alert(FIRING), "b", 20),
        (alert(RESOLVED), peer, 30),
    )
    assert changes[-1] is Change.REPEATED
    assert known.doubt is None


@PEERS
@pytest.mark.parametrize("earlier", [[], [(alert(FIRING), "b", 20)]])
def test_a_newer_firing_is_no_doubt_and_ends_a_doubt(
    peer: str, earlier: list[tuple[Alert, str, Millis]]
) -> None:
    changes, known = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), *earlier, (alert(FIRING, 1_001), peer, 30)
    )
    assert changes[-1] is Change.FIRED
    assert known.doubt is None


@PEERS
@OLDER
def test_a_firing_long_after_the_end_counts_whatever_its_start(peer: str, starts_at: Millis) -> None:
    changes, _ = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), (alert(FIRING, starts_at), peer, 10 + PEER_LAG)
    )
    assert changes[-1] is Change.FIRED


def test_a_doubtful_firing_counts_when_it_is_certain() -> None:
    _, known = after((alert(FIRING), "a", 0), (alert(RESOLVED), "a", 10), (alert(FIRING), "b", 20))
    assert known.doubt is not None
    change, after_it = reduce_alert(known, known.doubt.alert, "b", 30, certain=True)
    assert change is Change.FIRED
    assert after_it.doubt is None


def test_a_start_in_the_far_future_mutes_an_alert_for_the_lag_only() -> None:
    far = 2**42
    changes, known = after(
        (alert(FIRING, far), "a", 0), (alert(RESOLVED, far), "a", 10), (alert(FIRING), "a", 20)
    )
    assert changes[-1] is Change.REPEATED
    assert known.doubt is not None
    assert known.doubt.until == 10 + PEER_LAG


def test_an_end_without_a_start_ends_the_episode_with_its_start() -> None:
    changes, known = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED, None), "a", 10), (alert(FIRING), "a", 20)
    )
    assert changes[-1] is Change.REPEATED
    assert known.doubt is not None


def test_after_a_step_back_no_doubt_lasts_longer_than_the_lag() -> None:
    _, known = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "a", HOUR), (alert(FIRING), "b", HOUR - MINUTE)
    )
    assert known.doubt is not None
    assert known.doubt.until == HOUR - MINUTE + PEER_LAG
    changes, _ = after((alert(FIRING), "a", 0), (alert(RESOLVED), "a", HOUR), (alert(FIRING), "b", 0))
    assert changes[-1] is Change.FIRED


@pytest.mark.parametrize("starts_at", [None, 500, 1_000, 2_000])
def test_any_peer_can_contradict_an_end_that_no_sender_reported(starts_at: Millis | None) -> None:
    changes, _ = after(
        (alert(FIRING), "a", 0), (alert(RESOLVED), "", 10), (alert(FIRING, starts_at), "b", 20)
    )
    assert changes[-1] is Change.FIRED


def test_a_late_resolve_confirms_an_end_and_allows_doubts() -> None:
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


_reports = st.tuples(
    st.builds(alert, st.sampled_from([FIRING, RESOLVED]), st.sampled_from([None, 1_000, 2_000])),
    st.sampled_from("ab"),
    st.integers(0, HOUR),
)


@given(st.lists(_reports, min_size=1, max_size=12))
def test_the_same_report_twice_changes_nothing_the_second_time(
    reports: list[tuple[Alert, str, Millis]],
) -> None:
    known: Known | None = None
    for each, peer, now in reports:
        _, known = reduce_alert(known, each, peer, now)
        change, again = reduce_alert(known, each, peer, now)
        assert change is Change.REPEATED
        assert again.alert.status is known.alert.status
