"""The ledger: every accepted change has one fate at each of its destinations."""

from router.core.rows import FateRow
from router.core.state import State
from router.model import Fate, Millis

Said = tuple[Fate, str, str]
"""A fate, the rule that made it, and the reason."""
ANY_GENERATION = 2**62
"""Beyond every one."""


def add(
    state: State, change: int, destination: str, member: int | None, said: Said, generation: int, now: Millis
) -> None:
    fate, rule, reason = said
    state.fates.put(
        FateRow(state.new_id(), change, destination, member, str(fate), rule, reason, generation, now, now)
    )


def move(state: State, member: int, fate: Fate, rule: str, reason: str, now: Millis) -> None:
    """The open fates of a member: the rules, or the state, say something else of them now."""
    for row in state.fates.of("open of member", member):
        state.fates.put(row._replace(fate=str(fate), rule=rule, reason=reason, updated_at=now))


def finish(state: State, member: int, generation: int, fate: Fate, reason: str, now: Millis) -> None:
    """The open fates of a member up to a generation have come to this."""
    for row in state.fates.of("open of member", member):
        if row.generation <= generation:
            state.fates.put(row._replace(fate=str(fate), reason=reason, updated_at=now))


def raise_dead(state: State, member: int, fate: Fate, reason: str, now: Millis) -> None:
    """Somebody settled the dead letter."""
    for row in state.fates.of("dead of member", member):
        state.fates.put(row._replace(fate=str(fate), reason=reason, updated_at=now))


def of_last_change(state: State, alert: int, destination: str) -> FateRow | None:
    """What the last change of an alert came to at a destination; None: it was not meant for it."""
    last = state.alerts[alert].last_change_id
    if last is None:
        return None
    return next((row for row in state.fates.of("change", last) if row.destination == destination), None)
