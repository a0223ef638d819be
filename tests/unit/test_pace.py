"""When a failed delivery is tried again, and how fast a destination is told."""

from hypothesis import given, settings
from hypothesis import strategies as st

from router.deliver.pace import Pace
from router.deliver.schedule import FIRST, LONGEST, LONGEST_WISH, next_attempt
from router.model import SECOND

attempts = st.integers(1, 10_000)
chances = st.floats(0, 1, exclude_max=True)


@given(attempts, chances)
def test_a_retry_waits_between_half_a_second_and_five_minutes(count: int, chance: float) -> None:
    wait = next_attempt(count, 1_000_000, chance) - 1_000_000
    assert FIRST // 2 <= wait <= LONGEST


@given(attempts, chances)
def test_the_wait_grows_until_it_is_capped(count: int, chance: float) -> None:
    assert next_attempt(count, 0, chance) <= next_attempt(count + 1, 0, chance)


@given(attempts, chances, st.integers(0, 10 * LONGEST_WISH))
def test_a_providers_wish_is_honoured_within_an_hour(count: int, chance: float, wish: int) -> None:
    assert next_attempt(count, 0, chance, wish) >= min(wish, LONGEST_WISH)
    assert next_attempt(count, 0, chance, wish) <= max(LONGEST, LONGEST_WISH)


@given(
    st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=60),
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_no_window_holds_more_than_the_burst_and_the_rate_allow(
    gaps: list[int], burst: int, rate: float
) -> None:
    pace, now, sent = Pace(rate, burst), 0, []
    for gap in gaps:
        now = pace.ready_at(now + gap)
        pace.spend(now)
        sent.append(now)
    for first, at in enumerate(sent):
        within = [moment for moment in sent[first:] if moment < at + 10 * SECOND]
        assert len(within) <= burst + 10 * rate


@settings(deadline=None)  # how long it takes is the machine's business
@given(st.integers(2, 300), st.integers(1, 30), st.integers(1, 6))
def test_many_who_take_their_turn_at_once_keep_the_common_pace(many: int, burst: int, calls: int) -> None:
    """However far the last reservation lies ahead."""
    pace = Pace(4.0, burst)
    moments = [pace.reserve(1_000, calls) for _ in range(many)]
    for first, at in enumerate(moments):
        within = [moment for moment in moments[first:] if moment < at + 10 * SECOND]
        assert len(within) * calls <= burst + 10 * 4 + calls
