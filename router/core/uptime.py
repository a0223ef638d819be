"""Uptime: since when the router has run without a gap or a step of the clock.

Timeouts count from that moment. So a step of the clock, or a time without the router, ends no alert.
"""

from router.core.rows import MetaRow
from router.core.state import State
from router.model import MINUTE, SECOND, Millis

# How often a running router saves that it runs, and how long it may be down before that counts as a gap.
BEAT: Millis = MINUTE
_DOWN: Millis = 2 * BEAT

ALIVE, SINCE = "alive_at", "counting_since"


def counting_since(state: State) -> Millis:
    """Return since when the router runs without a gap or a step of the clock (epoch ms)."""
    row = state.meta.get(SINCE)
    return 0 if row is None else int(row.value)


def last_beat(state: State) -> Millis | None:
    """Return when the router last saved that it runs (epoch ms); None: never."""
    row = state.meta.get(ALIVE)
    return None if row is None else int(row.value)


def down_for(state: State, now: Millis) -> Millis | None:
    """Return how long the router was down (ms); negative: the clock was stepped back; None: there was no gap."""
    alive = last_beat(state)
    if alive is None or not -SECOND <= now - alive <= _DOWN:
        return 0 if alive is None else now - alive
    return None


def beat(state: State, now: Millis) -> None:
    """Save that the router runs."""
    state.meta.put(MetaRow(ALIVE, str(now)))


def count_from(state: State, now: Millis) -> None:
    """Count time from now on: there was a gap, or a step of the clock."""
    state.meta.put(MetaRow(SINCE, str(now)))
    beat(state, now)
