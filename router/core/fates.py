"""The ledger: every accepted change has one fate at each of its destinations.

A fate keeps its decision and the result. When a fate is decided again, its former states become rows of their own. Most
fates are decided once, and need one row.
"""

from router.core.due_times import NOT_COUNTED, first_time, next_time, slot_time
from router.core.rows import FateRow, FormerFateRow
from router.core.state import State
from router.model import Fate, Millis

FateDecision = tuple[Fate, str, str]
"""A fate, the name of the rule that made it, and the reason."""
ANY_GENERATION = 2**62
"""A bound above the generation of every conversation, to select all fates of a member."""


def add(  # noqa: PLR0913  (each is a column)
    state: State, change: int, destination: str, member: int | None, decision: FateDecision, generation: int, now: Millis,
    configuration: int | None = None, *, at: Millis | None = None, urgency: int = 0, tenant: str = "",
    is_counted: bool = True,
) -> None:  # fmt: skip
    """Add the fate of a change at a destination.

    :param at: when its member is due (epoch ms); None: immediately
    :param urgency: the rank of the change's level
    :param tenant: of the change
    :param is_counted: whether objectives count it
    """
    fate, rule, reason = decision
    due_at = first_time(fate, at, now) if is_counted else NOT_COUNTED
    state.fates.put(
        FateRow(
            state.new_id(), change, destination, member, str(fate), rule, reason, generation, now, now,
            configuration, None, str(fate), reason, due_at, urgency, tenant,
        )
    )  # fmt: skip


def decide_open(
    state: State, member: int, decision: FateDecision, now: Millis, configuration: int | None = None, *,
    at: Millis | None = None,
) -> None:  # fmt: skip
    """Give the open fates of a member another decision.

    :param configuration: id of the configuration that decided; None: the state of the member did
    :param at: when the member is due by the decision (epoch ms); None: immediately
    """
    for row in state.fates.of("open of member", member):
        decide_again(state, row, decision, now, configuration, at=at)


def finish(
    state: State,
    member: int,
    generation: int,
    fate: Fate,
    reason: str,
    now: Millis,
    slot: Millis | None = None,
) -> None:
    """Close the open fates of a member, up to a generation of its conversation, with this result.

    :param slot: of the digest that ends; None: it is no digest
    """
    for row in state.fates.of("open of member", member):
        if row.generation <= generation:
            due = row if slot is None else row._replace(due_at=slot_time(row, slot))
            finish_one(state, due, fate, reason, now)


def finish_one(state: State, row: FateRow, fate: Fate, reason: str, now: Millis) -> None:
    """Close a fate with this result. It keeps its decision."""
    state.fates.put(row._replace(fate=str(fate), reason=reason, updated_at=now))


def move_open(state: State, member: int, to: int, slot: Millis | None = None) -> None:
    """Move the open fates of a member to another member.

    :param slot: of the digest that the other member is in; None: it is in no digest
    """
    for row in state.fates.of("open of member", member):
        due_at = row.due_at if slot is None else slot_time(row, slot)
        state.fates.put(row._replace(member_id=to, generation=0, due_at=due_at))


def make_obsolete(state: State, member: int, rule: str, reason: str, now: Millis) -> None:
    """Make the open fates of a member obsolete: no notification is needed.

    :param rule: the rule of the member's last decision
    """
    for row in state.fates.of("open of member", member):
        if row.rule == rule:
            finish_one(state, row, Fate.OBSOLETE, reason, now)
        else:
            decide_again(state, row, (Fate.OBSOLETE, rule, reason), now)


def settle_dead(state: State, member: int, fate: Fate, reason: str, now: Millis) -> None:
    """Give the dead fates of a member a new decision, because its dead letter is settled."""
    for row in state.fates.of("dead of member", member):
        counted = row if row.due_at is None else row._replace(due_at=NOT_COUNTED)
        decide_again(state, counted, (fate, row.rule, reason), now)


def decide_again(
    state: State, row: FateRow, decision: FateDecision, now: Millis, configuration: int | None = None, *,
    at: Millis | None = None,
) -> None:  # fmt: skip
    """Give a fate a new decision. Its former states are kept as rows, unless the decision is the same.

    :param at: when its member is due by the decision (epoch ms); None: immediately
    """
    fate, rule, reason = decision
    due_at = next_time(row, fate, at, now)
    if (row.fate, row.rule, row.reason) == (fate, rule, reason):
        state.fates.put(row._replace(updated_at=now, due_at=due_at))
        return
    for since, was, why in states_of(row):
        state.former_fates.put(
            FormerFateRow(state.new_id(), row.id, since, was, row.rule, why, row.configuration)
        )
    state.fates.put(
        row._replace(
            fate=str(fate), rule=rule, reason=reason, updated_at=now, decided_at=now,
            configuration=row.configuration if configuration is None else configuration, decision=str(fate),
            because=reason, due_at=due_at,
        )
    )  # fmt: skip


def states_of(row: FateRow) -> list[tuple[Millis, str, str]]:
    """Return the decision, and its result if there is one: since when (epoch ms), the fate, and the reason."""
    result = (row.updated_at, row.fate, row.reason)
    if row.decision is None or row.because is None:
        return [result]
    decided = (row.at if row.decided_at is None else row.decided_at, row.decision, row.because)
    return [decided] if decided[1:] == result[1:] else [decided, result]


def of_last_change(state: State, alert: int, destination: str) -> FateRow | None:
    """Return the fate of an alert's last change at a destination; None: the change was not decided for it."""
    last = state.alerts[alert].last_change_id
    if last is None:
        return None
    return next((row for row in state.fates.of("change", last) if row.destination == destination), None)
