"""When a failed delivery is tried again. Pure."""

from router.model import MINUTE, SECOND, Millis

FIRST: Millis = 1 * SECOND
LONGEST: Millis = 5 * MINUTE
# A provider that asks for more than this is taken at its word no longer: it may be a mistake of its own.
LONGEST_WISH: Millis = 60 * MINUTE


def next_attempt(attempts: int, now: Millis, chance: float, after: Millis | None = None) -> Millis:
    """The moment of the next attempt.

    Doubles from one second to five minutes, jittered down by up to a half so that lanes which failed together
    don't come back together; never before the provider's own wish.

    :param attempts: failed attempts in a row, this one included (>= 1)
    :param chance: in [0, 1), drawn by the caller
    :param after: Retry-After, in milliseconds
    """
    ceiling = LONGEST if attempts > 20 else min(LONGEST, FIRST << (attempts - 1))
    wait = ceiling - int(ceiling / 2 * chance)
    if after is not None:
        wait = max(wait, min(max(after, 0), LONGEST_WISH))
    return now + wait


def next_probe(attempts: int) -> Millis:
    """How long a broken destination is left alone: a minute, doubling to half an hour.

    :param attempts: failed ones in a row since it broke (>= 1)
    """
    return min(30 * MINUTE, MINUTE << min(attempts - 1, 5))
