"""Token buckets: how many calls a window of time may have, and which calls need not wait."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router.deliver.token_bucket import TokenBucket
from router.model import HOUR, MINUTE, SECOND, Millis, Rate
from tests.examples import examples

rates = st.builds(Rate, st.integers(1, 10_000), st.sampled_from([SECOND, MINUTE, HOUR]), st.integers(1, 20))
# The clock counts from the start of the machine, which may be more than ten years ago.
moments = st.integers(0, 10**12)
waits = st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=60)


def interval(rate: Rate) -> Fraction:
    """Return the milliseconds between two calls."""
    return Fraction(rate.per, rate.limit)


def sent(bucket: TokenBucket, start: Millis, gaps: list[Millis]) -> list[Millis]:
    """Return when calls go that are requested with these gaps (ms)."""
    now, found = start, []
    for gap in gaps:
        now = bucket.ready_at(now + gap)
        bucket.spend(now)
        found.append(now)
    return found


def check_windows(found: list[Millis], rate: Rate) -> None:
    """Check that the calls beyond the burst take their time between any two calls, to the millisecond."""
    for first, at in enumerate(found):
        for count, then in enumerate(found[first:], 1):
            assert (then - at + 1) * rate.limit > (count - rate.burst) * rate.per


@settings(deadline=None)  # without a time limit, because the machine may be slow
@given(rates, moments, waits)
def test_no_window_holds_more_than_the_burst_and_the_rate_allow(
    rate: Rate, start: Millis, gaps: list[Millis]
) -> None:
    check_windows(sent(TokenBucket(rate), start, gaps), rate)


@settings(deadline=None)
@given(rates, moments, st.integers(2, 60))
def test_reservations_keep_the_rate_and_their_order(rate: Rate, now: Millis, many: int) -> None:
    bucket = TokenBucket(rate)
    found = [bucket.reserve(now) for _ in range(many)]
    assert found == sorted(found)
    check_windows(found, rate)


@given(rates, moments, st.lists(st.integers(1, 9), max_size=9), st.integers(0, HOUR))
def test_a_wait_is_never_negative_and_ends_by_itself(
    rate: Rate, now: Millis, calls: list[int], later: Millis
) -> None:
    bucket = TokenBucket(rate)
    for each in calls:
        bucket.spend(now, each)
    assert now <= bucket.ready_at(now) <= now + sum(calls) * interval(rate) + 1
    assert bucket.ready_at(now + later) == max(now + later, bucket.ready_at(now))


@examples(20)
@given(rates, moments)
def test_thousands_of_calls_take_exactly_their_time(rate: Rate, now: Millis) -> None:
    """Sums do not drift: the last call goes in the millisecond in which the rate lets it go."""
    bucket = TokenBucket(rate)
    for _ in range(3_000):
        last = bucket.reserve(now)
    late = last - now - (3_000 - rate.burst) * interval(rate)
    assert 0 <= late < 1


@given(rates, moments)
def test_after_a_rest_the_whole_burst_goes_together(rate: Rate, now: Millis) -> None:
    bucket = TokenBucket(rate)
    bucket.spend(now, 3 * rate.burst)
    rested = now + int(3 * rate.burst * interval(rate)) + 1
    assert [bucket.reserve(rested) for _ in range(rate.burst)] == [rested] * rate.burst
    assert bucket.ready_at(rested) > rested


@given(moments, waits)
def test_without_a_rate_nothing_waits(start: Millis, gaps: list[Millis]) -> None:
    wanted = [start + sum(gaps[: number + 1]) for number in range(len(gaps))]
    assert sent(TokenBucket(None), start, gaps) == wanted


@given(st.one_of(st.none(), rates), moments, st.integers(0, HOUR))
def test_a_refusal_is_obeyed_and_no_burst_follows(rate: Rate | None, now: Millis, wish: Millis) -> None:
    bucket = TokenBucket(rate)
    bucket.refused(now + wish)
    assert bucket.reserve(now) == now + wish
    if rate is not None:
        assert bucket.ready_at(now) - now - wish >= interval(rate)


def test_a_provider_that_refuses_is_called_slower_for_a_while() -> None:
    bucket, now = TokenBucket(Rate(1, SECOND, burst=1)), 0
    for _ in range(10):
        bucket.refused(now)
    bucket.spend(now)
    assert bucket.ready_at(now) == 4 * SECOND
    for _ in range(100):
        bucket.accepted()
    now = 10 * SECOND
    bucket.spend(now)
    assert bucket.ready_at(now) == now + SECOND


@given(rates, rates, moments, st.integers(0, 100))
def test_a_changed_rate_holds_immediately(before: Rate, after: Rate, now: Millis, calls: int) -> None:
    """The wait by the old rate no longer counts, however long it was."""
    assume(before != after)
    bucket = TokenBucket(before)
    bucket.spend(now, calls)
    bucket.change(after, now)
    assert bucket.ready_at(now) <= now + interval(after) + 1
    check_windows([bucket.reserve(now) for _ in range(40)], after)


@pytest.mark.parametrize("rate", [Rate(1, HOUR, burst=2), None])
def test_the_same_rate_again_changes_nothing(rate: Rate | None) -> None:
    bucket = TokenBucket(rate)
    bucket.spend(0, 5)
    before = bucket.ready_at(0)
    bucket.change(rate, 0)
    assert bucket.ready_at(0) == before


def test_a_limit_can_be_lifted_and_set_again() -> None:
    rate = Rate(1, MINUTE, burst=1)
    bucket = TokenBucket(rate)
    bucket.spend(0, 3)
    bucket.change(None, 0)
    assert [bucket.reserve(0) for _ in range(100)] == [0] * 100
    bucket.change(rate, 0)
    assert [bucket.reserve(0) for _ in range(2)] == [0, MINUTE]
