"""Invariants that hold after each step of any history."""

from collections import Counter
from collections.abc import Iterable

from router.core.due_times import NOT_COUNTED
from router.core.rows import (
    CLOSED,
    CLOSING,
    FIRING,
    NOT_FIRING,
    OF_GROUP,
    OF_STORM,
    OPEN,
    OPEN_FATES,
    RESOLVED,
    ChangeRow,
    ConversationRow,
    FateRow,
    MemberRow,
)
from router.core.state import State
from router.model import Fate, Millis


def check(state: State) -> None:
    """Check all rows."""
    for change in state.changes:
        _change(state, change)
    for conversation in state.conversations:
        _conversation(state, conversation)
    for fate in state.fates:
        _fate(state, fate)
    _deliveries(state)


def _change(state: State, change: ChangeRow) -> None:
    fates = [each.destination for each in state.fates.of("change", change.id)]
    assert len(fates) == change.destinations >= 1, f"{change}: has fates at {fates}"
    assert len(fates) == len(set(fates)), f"{change}: has two fates at one destination: {fates}"


def _fate(state: State, fate: FateRow) -> None:
    """A fate that is open has a conversation that is due, and knows when it is due."""
    change = state.changes.get(fate.change_id)
    assert change is not None, f"{fate}: has no change"
    assert fate.tenant == change.tenant, f"{fate}: has another tenant than {change}"
    _due_time(fate)
    if fate.fate not in OPEN_FATES:
        return
    member = None if fate.member_id is None else state.members.get(fate.member_id)
    assert member is not None, f"{fate}: is forgotten, no member waits"
    row = state.conversations[member.conversation_id]
    assert row.state == OPEN, f"{fate}: is forgotten, {row} is over"
    assert row.due_at is not None or fate.fate == Fate.INHIBITED, f"{fate}: is forgotten, {row} is never due"


def _due_time(fate: FateRow) -> None:
    """An open fate that is to be sent has a due time, one that is inhibited has none. It is never before its change."""
    has_time = fate.due_at is not None
    if fate.fate in OPEN_FATES and fate.due_at != NOT_COUNTED:
        assert has_time == (fate.fate != Fate.INHIBITED), f"{fate}: has a wrong due time"
    assert not fate.due_at or fate.due_at >= fate.at, f"{fate}: is due before it was accepted"


def _conversation(state: State, row: ConversationRow) -> None:
    members = state.members.of("conversation", row.id)
    counts, found = {name: getattr(row, name) for name in _COUNTED}, _counts(members)
    if row.state == OPEN:
        assert counts == found, f"{row}: has {found}"
    else:  # some of the members may be pruned
        assert all(counts[name] >= found[name] for name in _COUNTED), f"{row}: has {found}"
    # The members of a closing conversation are marked in pieces.
    strays = [] if row.state == CLOSING else [each for each in members if each.open != (row.state == OPEN)]
    assert not strays, f"{row}: is {row.state}, its members are not: {strays}"
    storm = None if row.storm_id is None else state.conversations.get(row.storm_id)
    assert storm is None or (storm.kind, storm.destination) == (OF_STORM, row.destination), (
        f"{row}: in {storm}"
    )
    _due(row, [each.at for each in members if each.at is not None])
    if row.state == OPEN and row.group_id is not None and not (row.firing or row.known or row.waiting):
        letters = state.dead_letters.of("open of conversation", row.id)
        hidden = row.ended and row.kind == OF_GROUP and state.groups[row.group_id].truncated
        assert letters or hidden, f"{row}: is open, and has nothing left to notify of"


_COUNTED = ("firing", "known", "shown", "ended", "waiting", "ends")


def _counts(members: Iterable[MemberRow]) -> dict[str, int]:
    found: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    for each in members:
        fires, known, waits = each.status == FIRING, each.notified not in NOT_FIRING, each.at is not None
        found["firing"] += fires
        found["known"] += known
        found["shown"] += fires and known
        found["ended"] += each.notified == RESOLVED
        found["waiting"] += waits
        found["ends"] += waits and not fires
    return dict(found)


def _due(row: ConversationRow, times: list[Millis]) -> None:
    """Its due time is a lower bound of that of its members, and its order in the lane follows from it."""
    if row.state in (CLOSED, CLOSING):
        assert row.due_at is None, f"{row}: is over and due"
    elif row.slot is not None:
        assert row.due_at == row.slot, f"{row}: is not due at its slot"
    elif times:
        assert row.due_at is not None, f"{row}: is never due"
        assert row.due_at <= min(times), f"{row}: is due after {min(times)}"
    else:
        assert row.due_at is None, f"{row}: is due, and nothing waits"
    ready = row.due_at is not None and row.delivery_id is None
    next_at = max(row.due_at or 0, row.not_before) if ready else None
    assert row.next_at == next_at, f"{row}: is next at {next_at}"
    priority = 0 if row.urgency == 0 else 1 if row.ends else 2
    assert row.priority == priority, f"{row}: has priority {priority}"


def _deliveries(state: State) -> None:
    """A delivery under way is logged as begun, at its own conversation."""
    for row in state.conversations:
        if row.delivery_id is not None:
            delivery = state.deliveries[row.delivery_id]
            assert delivery.outcome is None, f"{row}: waits for {delivery}, which has ended"
            assert delivery.destination == row.destination, f"{row}: waits for {delivery}"
