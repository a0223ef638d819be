"""When a failed delivery is tried again. Pure."""

from router.model import MINUTE, SECOND, Millis

FIRST_WAIT: Millis = 1 * SECOND
MAX_WAIT: Millis = 5 * MINUTE
# If a provider asks for a longer wait, the router waits for this time: the longer wait may be a mistake.
MAX_PROVIDER_WAIT: Millis = 60 * MINUTE


def next_attempt(attempts: int, now: Millis, chance: float, after: Millis | None = None) -> Millis:
    """Return the time of the next attempt.

    The wait doubles from one second to five minutes, and is shortened at random by up to a half, so that lanes that failed
    together do not all try again together. It is never shorter than the provider asks for.

    :param attempts: failed attempts in a row, this one included (>= 1)
    :param chance: in [0, 1), drawn by the caller
    :param after: what the provider asks for (Retry-After), in milliseconds
    """
    ceiling = MAX_WAIT if attempts > 20 else min(MAX_WAIT, FIRST_WAIT << (attempts - 1))
    wait = ceiling - int(ceiling / 2 * chance)
    if after is not None:
        wait = max(wait, min(max(after, 0), MAX_PROVIDER_WAIT))
    return now + wait


def next_probe(attempts: int) -> Millis:
    """Return how long nothing is sent to a broken destination: a minute, doubling to half an hour.

    :param attempts: failed attempts in a row since it broke (>= 1)
    """
    return min(30 * MINUTE, MINUTE << min(attempts - 1, 5))
