"""Closing: a large conversation is closed in pieces, each piece in a batch of its own. Firing members that were not
notified move to another conversation. In a digest, members that still fire or have open fates move to the next slot.

A piece can run twice, because the process can end between two pieces.
"""

from collections.abc import Sequence

from router.core import digests, fates
from router.core.conversations import begin_another, change, latest, put_member
from router.core.members import NEVER_NOTIFIED
from router.core.rows import CLOSED, FIRING, OPEN, RESOLVED, ConversationRow, MemberRow
from router.core.state import State
from router.decide import Policy
from router.model import Fate, Millis


def close_some(state: State, id_: int, ids: Sequence[int], policy: Policy, now: Millis) -> None:
    """Close some members of a closing conversation.

    :param ids: the ids of the members; empty: all members are closed already
    """
    row = state.conversations[id_]
    members = [state.members[each] for each in ids]
    if not members:
        change(state, row, state=CLOSED)
    elif row.slot is not None:
        digests.move_to_next_slot(state, row, members, policy, now)
    else:
        _move_to_successor(state, row, members, now)
    for each in ids:
        member = state.members[each]
        if member.conversation_id == id_:
            state.members.put(member._replace(open=0))


def _move_to_successor(state: State, row: ConversationRow, members: Sequence[MemberRow], now: Millis) -> None:
    waiting = [each for each in members if each.is_unnotified_firing]
    if not waiting:
        return
    state.conversations.want("token", (row.token,))
    state.alerts.want("id", (each.alert_id for each in waiting))
    state.fates.want("open of member", (each.id for each in waiting))
    state.ready()
    last = latest(state, row.token)
    successor = last if last is not None and last.state == OPEN else None
    if successor is not None:
        state.members.want("pair", ((successor.id, each.alert_id) for each in waiting))
        state.ready()
    alone: list[MemberRow] = []
    for each in waiting:
        there = None if successor is None else state.members.one("pair", (successor.id, each.alert_id))
        if there is not None:  # it has fired again since
            _end_member(state, each)
            fates.move_open(state, each.id, there.id)
        elif state.alerts[each.alert_id].status != FIRING:  # it has ended since
            _end_member(state, each)
            fates.finish(state, each.id, fates.ANY_GENERATION, Fate.OBSOLETE, NEVER_NOTIFIED, now)
        else:
            alone.append(each)
    begin_another(state, row, alone, now)


def _end_member(state: State, member: MemberRow) -> None:
    put_member(state, member._replace(status=RESOLVED, at=None, inhibitor=None), member)
