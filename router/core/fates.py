"""The ledger: every accepted change has one fate at each of its destinations.

A fate keeps two things: the decision, and what came of it. What a fate was before it was decided again becomes a row of
its own: most fates are decided once, and cost no more than their row.
"""

from router.core.rows import FateRow, FormerFateRow
from router.core.state import State
from router.model import Fate, Millis

FateDecision = tuple[Fate, str, str]
"""A fate, the rule that made it, and the reason."""
ANY_GENERATION = 2**62
"""Beyond every one."""


def add(
    state: State, change: int, destination: str, member: int | None, said: FateDecision, generation: int, now: Millis,
    configuration: int | None = None,
) -> None:  # fmt: skip
    fate, rule, reason = said
    state.fates.put(
        FateRow(
            state.new_id(), change, destination, member, str(fate), rule, reason, generation, now, now,
            configuration, None, str(fate), reason,
        )
    )  # fmt: skip


def move(
    state: State, member: int, said: FateDecision, now: Millis, configuration: int | None = None
) -> None:
    """The open fates of a member: the rules, or the state, say something else of them now.

    :param configuration: of the rules; None: the state says so
    """
    for row in state.fates.of("open of member", member):
        decide(state, row, said, now, configuration)


def finish(state: State, member: int, generation: int, fate: Fate, reason: str, now: Millis) -> None:
    """The open fates of a member up to a generation have come to this."""
    for row in state.fates.of("open of member", member):
        if row.generation <= generation:
            state.fates.put(row._replace(fate=str(fate), reason=reason, updated_at=now))


def make_obsolete(state: State, member: int, rule: str, reason: str, now: Millis) -> None:
    """Nobody was notified of the open fates of a member, and nobody need be. :param rule: of its last decision"""
    for row in state.fates.of("open of member", member):
        if row.rule == rule:
            state.fates.put(row._replace(fate=str(Fate.OBSOLETE), reason=reason, updated_at=now))
        else:
            decide(state, row, (Fate.OBSOLETE, rule, reason), now)


def settle_dead(state: State, member: int, fate: Fate, reason: str, now: Millis) -> None:
    """Somebody settled the dead letter."""
    for row in state.fates.of("dead of member", member):
        decide(state, row, (fate, row.rule, reason), now)


def decide(
    state: State, row: FateRow, said: FateDecision, now: Millis, configuration: int | None = None
) -> None:
    """Give a fate a new decision. What it was before is kept, unless the decision says the same."""
    fate, rule, reason = said
    if (row.fate, row.rule, row.reason) == (fate, rule, reason):
        state.fates.put(row._replace(updated_at=now))
        return
    for at, was, why in states_of(row):
        state.former_fates.put(
            FormerFateRow(state.new_id(), row.id, at, was, row.rule, why, row.configuration)
        )
    state.fates.put(
        row._replace(
            fate=str(fate), rule=rule, reason=reason, updated_at=now, decided_at=now,
            configuration=row.configuration if configuration is None else configuration, decision=str(fate),
            because=reason,
        )
    )  # fmt: skip


def states_of(row: FateRow) -> list[tuple[Millis, str, str]]:
    """The decision, and what came of it, if anything did: since when, the fate, and the reason."""
    result = (row.updated_at, row.fate, row.reason)
    if row.decision is None or row.because is None:
        return [result]
    decided = (row.at if row.decided_at is None else row.decided_at, row.decision, row.because)
    return [decided] if decided[1:] == result[1:] else [decided, result]


def of_last_change(state: State, alert: int, destination: str) -> FateRow | None:
    """What the last change of an alert came to at a destination; None: it was not meant for it."""
    last = state.alerts[alert].last_change_id
    if last is None:
        return None
    return next((row for row in state.fates.of("change", last) if row.destination == destination), None)
