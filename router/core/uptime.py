"""Since when time has simply passed. What ends by the passing of time counts from there at the earliest: a step of
the clock, or a time in which the router heard nothing, ends nothing.
"""

from router.core.rows import MetaRow
from router.core.state import State
from router.model import MINUTE, SECOND, Millis

# How often a running router notes that it runs, and how long it may have been down before that counts.
BEAT: Millis = MINUTE
_DOWN: Millis = 2 * BEAT

ALIVE, SINCE = "alive_at", "counting_since"


def counting_since(state: State) -> Millis:
    """Since when time has simply passed."""
    row = state.meta.get(SINCE)
    return 0 if row is None else int(row.value)


def last_beat(state: State) -> Millis | None:
    row = state.meta.get(ALIVE)
    return None if row is None else int(row.value)


def down_for(state: State, now: Millis) -> Millis | None:
    """How long the router was down; negative: the clock was stepped back. None: time has simply passed."""
    alive = last_beat(state)
    if alive is None or not -SECOND <= now - alive <= _DOWN:
        return 0 if alive is None else now - alive
    return None


def beat(state: State, now: Millis) -> None:
    """The router runs."""
    state.meta.put(MetaRow(ALIVE, str(now)))


def count_from(state: State, now: Millis) -> None:
    state.meta.put(MetaRow(SINCE, str(now)))
    beat(state, now)
