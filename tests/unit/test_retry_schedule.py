"""When a failed delivery is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from router.deliver.retry_schedule import FIRST_WAIT, MAX_PROVIDER_WAIT, MAX_WAIT, next_attempt

attempts = st.integers(1, 10_000)
chances = st.floats(0, 1, exclude_max=True)


@given(attempts, chances)
def test_a_retry_waits_between_half_a_second_and_five_minutes(count: int, chance: float) -> None:
    wait = next_attempt(count, 1_000_000, chance) - 1_000_000
    assert FIRST_WAIT // 2 <= wait <= MAX_WAIT


@given(attempts, chances)
def test_the_wait_grows_until_it_is_capped(count: int, chance: float) -> None:
    assert next_attempt(count, 0, chance) <= next_attempt(count + 1, 0, chance)


@given(attempts, chances, st.integers(0, 10 * MAX_PROVIDER_WAIT))
def test_a_retry_waits_as_long_as_the_provider_asks_up_to_an_hour(
    count: int, chance: float, wish: int
) -> None:
    assert next_attempt(count, 0, chance, wish) >= min(wish, MAX_PROVIDER_WAIT)
    assert next_attempt(count, 0, chance, wish) <= max(MAX_WAIT, MAX_PROVIDER_WAIT)
