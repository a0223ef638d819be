"""Due times: when a change is due at a destination. Objectives measure deliveries from this time.

- A change that is sent is due when its member is.
- A held change is due when its route opens, an inhibited one when its inhibitor ends, one of a digest at its slot.
- A change that is not to be sent is never due.

A due time that has passed does not change with later decisions, unless an inhibitor or a digest delays the change. So a message
that misses the hours of its route is late from the time at which they opened.
"""

from router.core.rows import ConversationRow, FateRow, MemberRow
from router.model import Fate, Millis

NOT_COUNTED: Millis = 0
"""The due time of a change that objectives do not count. It was given up, was counted as failed then, and an operator retries
it; or it is a test of a receiver, which says nothing about real alerts.
"""
_KEEPS_ITS_TIME = (Fate.PENDING, Fate.HELD)


def member_time(member: MemberRow, conversation: ConversationRow) -> Millis | None:
    """Return when a member is due: at its own time, or at the slot of its digest. None: it has no time."""
    return member.at if conversation.slot is None else conversation.slot


def first_time(fate: Fate, at: Millis | None, now: Millis) -> Millis | None:
    """Return when a new change is due; None: it is not.

    :param at: when its member is due (epoch ms); None: immediately
    :param now: when the change was accepted (epoch ms)
    """
    if fate not in (Fate.PENDING, Fate.HELD, Fate.DIGEST):
        return None
    return now if at is None else max(now, at)


def next_time(row: FateRow, fate: Fate, at: Millis | None, now: Millis) -> Millis | None:
    """Return when a change is due after a further decision; None: it is not.

    :param row: its fate before
    :param at: when its member is due by the decision (epoch ms); None: immediately
    """
    if row.due_at == NOT_COUNTED:
        return NOT_COUNTED
    was_due = row.due_at is not None and row.due_at <= now
    if was_due and fate in _KEEPS_ITS_TIME and row.fate in _KEEPS_ITS_TIME:
        return row.due_at
    return first_time(fate, now if at is None else at, row.at)


def slot_time(row: FateRow, slot: Millis) -> Millis | None:
    """Return when a change of a digest is due, if it is sent at this slot (epoch ms); None: it is not due."""
    if row.due_at is None or row.due_at == NOT_COUNTED:
        return row.due_at
    return max(row.at, slot)
