"""Settling dead letters: each one is tried again, or discarded."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from router.core import fates, rows
from router.core.conversations import change, close_if_empty, keep_remote, latest, put_member
from router.core.dead_letters import notices_of
from router.core.digests import report_next
from router.core.members import DESTINATION_REMOVED, NEVER_NOTIFIED
from router.core.rows import (
    DROP,
    FIRING,
    INHIBITED,
    LARGE,
    NOT_FIRING,
    RESOLVED,
    SEND,
    UNKNOWN,
    ConversationRow,
    DeadLetterRow,
    MemberRow,
)
from router.core.state import State
from router.core.unsent_ends import NOT_SENT, has_lane, sends_ends
from router.decide import Policy
from router.model import KNOWN_FIRING, KNOWN_OVER, LATE, Fate, Millis

RETRIED = "retried"
DISCARDED = "discarded by hand"


class DeliveryUnderWay(Exception):  # noqa: N818  (a state, not an error)
    """A delivery of the conversation is under way; its outcome would overwrite a retry."""


def retry_dead_letter(state: State, dead_letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
    """Retry a dead letter: alerts whose status is still the same become due; the others become obsolete.

    Return the keys of the destinations that have something to send now; None: there is no such letter, or it is settled.

    :raises DeliveryUnderWay: the letter is about one recipient, and a delivery is under way; nothing has changed
    """
    row = _unsettled(state, dead_letter)
    if row is None:
        return None
    if row.recipient:
        if state.conversations[row.conversation_id].delivery_id is not None:
            raise DeliveryUnderWay
        _retry_recipient(state, row, policy, now)
    else:
        notices = notices_of(row)
        state.run_all(
            partial(_retry_alert, state, row, member, notice, policy, now)
            for member, notice in notices.items()
        )
    return settle(state, dead_letter, RETRIED, now)


def retry_some(
    state: State, dead_letter: int, notices: Mapping[int, dict[str, str]], policy: Policy, now: Millis
) -> bool:
    """Retry some alerts of a large dead letter, before :func:`settle`. Running it twice does no harm.

    Return whether the letter is still unsettled.
    """
    row = _unsettled(state, dead_letter)
    if row is None:
        return False
    state.run_all(
        partial(_retry_alert, state, row, member, notice, policy, now) for member, notice in notices.items()
    )
    return True


def discard_dead_letter(state: State, dead_letter: int, now: Millis) -> bool:
    """Discard a dead letter: no destination is notified. Return False if there is no such letter, or it is settled."""
    row = _unsettled(state, dead_letter)
    if row is None:
        return False
    for member in notices_of(row):
        fates.settle_dead(state, member, Fate.DROPPED, DISCARDED, now)
    settle(state, dead_letter, "discarded", now)
    return True


def discard_some(state: State, dead_letter: int, members: Iterable[int], now: Millis) -> bool:
    """Discard some alerts of a large dead letter, before :func:`settle`. Return whether the letter is still unsettled."""
    if _unsettled(state, dead_letter) is None:
        return False
    for member in members:
        fates.settle_dead(state, member, Fate.DROPPED, DISCARDED, now)
    return True


def settle(state: State, dead_letter: int, how: str, now: Millis) -> frozenset[str] | None:
    """Mark a dead letter as settled, after each of its alerts is settled.

    Return the keys of the destinations that have something to send now; None: it is settled already.

    :param how: :data:`RETRIED` or ``discarded``
    """
    row = _unsettled(state, dead_letter)
    if row is None:
        return None
    if how == RETRIED:
        change(state, state.conversations[row.conversation_id], attempts=0, not_before=0, tried_since=None)
    state.dead_letters.put(row._replace(state=how, settled_at=now))
    close_if_empty(state, row.conversation_id)
    return frozenset({row.destination})


def notices_if_many(state: State, dead_letter: int) -> dict[int, dict[str, str]]:
    """Return the notices of a dead letter by member id, if the letter has so many that it is settled in pieces; else an
    empty mapping.
    """
    row = _unsettled(state, dead_letter)
    if row is None or row.recipient or len(row.notices) < LARGE:  # each notice takes more than one character
        return {}
    notices = notices_of(row)
    return notices if len(notices) > LARGE else {}


def _unsettled(state: State, dead_letter: int) -> DeadLetterRow | None:
    row = state.dead_letters.get(dead_letter)
    return row if row is not None and row.state == "dead" else None


def _retry_alert(
    state: State, dead_letter: DeadLetterRow, id_: int, notice: dict[str, str], policy: Policy, now: Millis
) -> None:
    member = state.members.get(id_)
    if member is None:  # it ended so long ago that it was pruned
        return
    conversation = state.conversations[member.conversation_id]
    there, is_open = dead_letter.destination, conversation.state == rows.OPEN
    if conversation.slot is not None:
        _retry_in_next_digest(state, there, id_, policy, now)
        return
    fate, reason = Fate.OBSOLETE, NEVER_NOTIFIED
    firing, after = member.status == FIRING, member
    if not has_lane(state, policy, there):
        fate, reason = Fate.DROPPED, DESTINATION_REMOVED
        after = _out_of_reach(state, member, reason, now)
    elif not is_open or (firing and notice["status"] == RESOLVED):
        reason = "superseded by a later status"
        if is_open and notice["notified"] not in NOT_FIRING and member.notified == RESOLVED:
            after = _still_shown(state, member, notice["notified"], now)
    elif firing and member.notified == FIRING:
        fate, reason = Fate.DELIVERED, "notified already"
    elif not firing and not sends_ends(state, policy, there):
        fate, reason = (Fate.DROPPED, NOT_SENT) if notice["status"] == RESOLVED else (fate, reason)
    elif firing or (notice["notified"] not in NOT_FIRING and member.notified == RESOLVED):
        fate, reason = Fate.PENDING, "tried again by hand"
        notified = UNKNOWN if member.notified == UNKNOWN else notice["notified"]
        after = member._replace(notified=notified, decision=SEND, at=now, reason=reason)
    put_member(state, after, member)
    fates.settle_dead(state, id_, fate, reason, now)


def _retry_in_next_digest(state: State, destination: str, member: int, policy: Policy, now: Millis) -> None:
    there = destination in policy.schedules
    fate, reason = (Fate.DIGEST, "tried again by hand") if there else (Fate.DROPPED, "its digest is gone")
    fates.settle_dead(state, member, fate, reason, now)
    if there:
        report_next(state, state.members[member], destination, policy, now)


def _out_of_reach(state: State, member: MemberRow, reason: str, now: Millis) -> MemberRow:
    """Return a member as dropped, because the rules no longer name its destination. If rules name it again, the
    member is judged again.
    """
    after = member._replace(decision=DROP)
    if member.notified not in NOT_FIRING:
        return after
    fates.decide_open(state, member.id, (Fate.DROPPED, member.rule, reason), now)
    return after._replace(at=None, inhibitor=None)


def _still_shown(state: State, member: MemberRow, notified: str, now: Millis) -> MemberRow:
    """Return a member that fires again, inhibited, at a destination that may still show its former firing.

    The destination knows that it fires, so the inhibitor no longer delays it.
    """
    after = member._replace(notified=notified)
    if member.decision != INHIBITED:
        return after
    fate, reason, at = Fate.DELIVERED, "notified already", None
    if notified == UNKNOWN:
        fate, reason, at = Fate.PENDING, "an earlier message about its end may have arrived", now
    fates.decide_open(state, member.id, (fate, member.rule, reason), now, at=at)
    return after._replace(decision=SEND, at=at, reason=reason, inhibitor=None, held_since=None)


def _retry_recipient(state: State, dead_letter: DeadLetterRow, policy: Policy, now: Millis) -> None:
    """Notify one recipient of what the others know: the alerts that still fire, or the ends of those that it was
    notified of.
    """
    conversation = state.conversations[dead_letter.conversation_id]
    if conversation.slot is not None:  # the next digest goes to all recipients
        return
    remote: dict[str, Any] = json.loads(conversation.remote)
    late = remote.get(LATE, {"to": []})
    if conversation.partly:  # other recipients are tried again already
        late["to"].append(dead_letter.recipient)
        keep_remote(state, conversation.id, remote, state=rows.OPEN)
        return
    over = conversation.state != rows.OPEN
    if over and not _is_end_wanted(state, conversation, policy):
        return
    known = RESOLVED if over else FIRING
    found = False
    for id_, notice in notices_of(dead_letter).items():
        member = state.members.get(id_)
        if member is None or (member.status, member.notified) != (known, known):
            continue
        if not over or notice["notified"] not in NOT_FIRING:
            # All others know the end, so a new firing is news to every recipient: "firing" would hide it.
            after = member._replace(notified=UNKNOWN if over else FIRING, at=now)
            put_member(state, after, member)
            found = True
    if not found:
        return
    recipients = [*late["to"], dead_letter.recipient]
    remote[LATE] = {"to": recipients, "state": KNOWN_OVER if over else KNOWN_FIRING}
    keep_remote(state, conversation.id, remote, state=rows.OPEN)
    for member in state.members.of("conversation", conversation.id):
        state.members.put(member._replace(open=1))


def _is_end_wanted(state: State, conversation: ConversationRow, policy: Policy) -> bool:
    """Return whether the end of a conversation is still to be sent to a recipient that was left out."""
    newest = latest(state, conversation.token)
    if newest is not None and newest.id != conversation.id:
        return False  # the group fires again, and the recipient is notified of that
    return sends_ends(state, policy, conversation.destination)


def want_dead_letter(state: State, dead_letter: int) -> None:
    """Request the rows that :func:`retry_dead_letter` and :func:`discard_dead_letter` need. :raises MissingRows: some are not loaded yet"""
    state.dead_letters.want("id", (dead_letter,))
    state.ready()
    row = _unsettled(state, dead_letter)
    if row is None or notices_if_many(state, dead_letter):
        return
    want_settled(state, row, list(notices_of(row)))


def want_some(state: State, dead_letter: int, members: Sequence[int]) -> None:
    """Request the rows that :func:`retry_some`, :func:`discard_some` and :func:`settle` need.

    :raises MissingRows: some are not loaded yet
    """
    state.dead_letters.want("id", (dead_letter,))
    state.ready()
    row = _unsettled(state, dead_letter)
    if row is not None:
        want_settled(state, row, members)


def want_settled(state: State, row: DeadLetterRow, members: Sequence[int]) -> None:
    """Request the rows that settling these members of a letter needs. :raises MissingRows: some are not loaded yet"""
    state.conversations.want("id", (row.conversation_id,))
    state.ready()
    if not state.conversations[row.conversation_id].is_large:
        state.members.want("conversation", (row.conversation_id,))
    state.members.want("id", members)
    state.fates.want("dead of member", members)
    state.fates.want("open of member", members)
    state.dead_letters.want("open of conversation", (row.conversation_id,))
    state.destinations.want("id", (row.destination,))
    state.ready()
    found = [member for id_ in members if (member := state.members.get(id_)) is not None]
    state.alerts.want("id", (member.alert_id for member in found))
    conversation = state.conversations[row.conversation_id]
    if conversation.group_id is not None:
        state.groups.want("id", (conversation.group_id,))
    state.ready()
