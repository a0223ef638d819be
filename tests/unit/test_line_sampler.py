"""Which repeated log lines are written: properties over made-up arrivals."""

from collections import Counter
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from router.logs.line_sampler import LineSampler, SampleLimit

LIMIT = SampleLimit(normal=5, overloaded=2)
GAPS = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 0.4), st.floats(0, 5, allow_nan=False)), min_size=1, max_size=200
)


def times(gaps: list[float]) -> list[float]:
    return [100 + at for at in accumulate(gaps)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2)), max_size=200), st.data())
def test_every_line_is_written_or_counted_once(
    arrivals: list[tuple[str, float]], data: st.DataObject
) -> None:
    sampler, now = LineSampler(), 0.0
    seen: Counter[object] = Counter()
    for key, gap in arrivals:
        now += gap
        left_out = sampler.admit(key, LIMIT, now)
        seen[key] += 0 if left_out is None else 1 + left_out
        if data.draw(st.booleans()):
            seen.update(dict(sampler.silent(now)))
    seen.update(dict(sampler.rest()))
    assert +seen == Counter(key for key, _ in arrivals)
    assert sampler.rest() == []


@given(GAPS)
def test_all_lines_are_written_up_to_the_normal_rate(gaps: list[float]) -> None:
    arrived = times(gaps)
    sampler = LineSampler()
    written = [sampler.admit("a", LIMIT, at) is not None for at in arrived]
    busiest = max(sum(at - 1 < other <= at for other in arrived) for at in arrived)
    if busiest <= LIMIT.normal:
        assert all(written)


@given(GAPS)
def test_no_second_has_more_lines_than_twice_the_limit(gaps: list[float]) -> None:
    """A second of the clock touches two of the sampler's seconds at most."""
    sampler = LineSampler()
    written = [at for at in times(gaps) if sampler.admit("a", LIMIT, at) is not None]
    assert all(sum(at - 1 < other <= at for other in written) <= 2 * LIMIT.normal for at in written)


def test_a_long_flood_is_written_at_the_low_rate() -> None:
    sampler = LineSampler()
    written = [number for number in range(60_000) if sampler.admit("a", LIMIT, number / 1_000) is not None]
    assert len(written) == LIMIT.normal + 59 * LIMIT.overloaded


def test_a_line_after_the_flood_has_the_count() -> None:
    sampler = LineSampler()
    for _ in range(20):
        sampler.admit("a", LIMIT, 1.0)
    assert sampler.admit("a", LIMIT, 9.0) == 20 - LIMIT.normal
    assert sampler.admit("a", LIMIT, 9.0) == 0


def test_a_count_is_reported_when_no_line_follows() -> None:
    sampler = LineSampler()
    for _ in range(20):
        sampler.admit("a", LIMIT, 1.0)
    assert sampler.silent(2.9) == []
    assert sampler.silent(3.0) == [("a", 20 - LIMIT.normal)]
    assert sampler.silent(3.0) == []


def test_all_lines_are_written_again_after_a_quiet_second() -> None:
    sampler = LineSampler()
    for _ in range(20):
        sampler.admit("a", LIMIT, 1.0)
    assert [sampler.admit("a", LIMIT, 3.5) for _ in range(5)] == [15, 0, 0, 0, 0]


def test_keys_do_not_share_a_count() -> None:
    sampler = LineSampler()
    assert [sampler.admit(key, LIMIT, 1.0) for key in "abcdefgh"] == [0] * 8


def test_the_number_of_keys_is_bounded() -> None:
    sampler = LineSampler()
    written = sum(sampler.admit(key, LIMIT, 1.0) is not None for key in range(5_000))
    assert written == 1_000 + LIMIT.normal
    assert sampler.rest() == [(None, 5_000 - written)]
