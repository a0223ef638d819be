"""Dead letters: what was given up, who is notified instead, and what somebody makes of it later."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from router.core import digests, fates, rows
from router.core.claim import Notice, Work
from router.core.conversations import change, close_if_empty, find_due, keep_remote, latest, put_member
from router.core.digests import report_next
from router.core.fates import ANY_GENERATION
from router.core.members import NEVER_NOTIFIED, Transitions, subject_of, want_memberships
from router.core.rows import (
    DROP,
    FIRING,
    GIVEN_UP,
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
from router.core.unsent_ends import NOT_SENT, UNCONFIRMED, sends_ends, settle_fates
from router.decide import Policy
from router.model import (
    KNOWN_FIRING,
    KNOWN_OVER,
    LATE,
    Decision,
    DecisionKind,
    Destination,
    Fate,
    Millis,
    Refusal,
)

RETRIED = "retried"
DISCARDED = "discarded by hand"


class DeliveryUnderWay(Exception):  # noqa: N818  (says what is so)
    """A delivery of the conversation is being sent at this moment; its outcome would overwrite a retry."""


def give_up(state: State, work: Work, reason: str, policy: Policy, now: Millis) -> frozenset[str]:
    """Give up what this work was to say, and have the destination's ``on_failure`` receiver notified instead.

    The destinations that have something to do now.
    """
    digest = work.conversation.digest is not None
    _finish(state, work, reason, policy, now)
    change(
        state, state.conversations[work.id], observed_generation=work.conversation.version, attempts=0,
        not_before=0, tried_since=None,
    )  # fmt: skip
    write_dead_letter(state, work, reason, now)
    woken = notify_instead(state, work, reason, policy, now)
    if digest:
        digests.finish(state, work.id, policy, now)
    elif state.conversations[work.id].waiting:
        find_due(state, work.id)
    return woken


def give_up_some(state: State, work: Work, reason: str, policy: Policy, now: Millis) -> frozenset[str]:
    """As :func:`give_up`, for some alerts of very many, after their letter is written and before the work ends."""
    _finish(state, work, reason, policy, now)
    return notify_instead(state, work, reason, policy, now)


def _finish(state: State, work: Work, reason: str, policy: Policy, now: Millis) -> None:
    for each in work.notice:
        fates.finish(state, each.member, work.conversation.version, Fate.DEAD, reason, now)
        if work.conversation.digest is None:
            _give_up(state, each, reason, work.conversation.destination, policy, now)


def give_up_recipients(
    state: State, work: Work, refused: tuple[Refusal, ...], policy: Policy, now: Millis
) -> frozenset[str]:
    """Give up recipients that could not be notified of what the others were: a letter each, and the ``on_failure``
    receiver is notified.

    The destinations that have something to do now.
    """
    woken: set[str] = set()
    for each in refused:
        write_dead_letter(state, work, each.shown, now, each.recipient)
        woken |= notify_instead(state, work, f"{each.recipient}: {each.shown}", policy, now)
    return frozenset(woken)


def _give_up(
    state: State, notice: Notice, reason: str, destination: str, policy: Policy, now: Millis
) -> None:
    """What came meanwhile counts: an end, a new beginning, or the same once more."""
    member = state.members[notice.member]
    given_up = member._replace(decision=GIVEN_UP, at=None, reason=reason)
    if member.status == notice.status:
        notified = RESOLVED if member.status == RESOLVED else notice.notified_before
        fates.finish(state, notice.member, ANY_GENERATION, Fate.DEAD, reason, now)
        after = given_up._replace(notified=notified)
    elif member.status == FIRING:
        after = member._replace(notified=RESOLVED, at=now)
    elif notice.notified_before in NOT_FIRING:
        fates.finish(state, notice.member, ANY_GENERATION, Fate.OBSOLETE, NEVER_NOTIFIED, now)
        after = given_up._replace(notified=notice.notified_before)
    elif not sends_ends(state, policy, destination):
        settle_fates(state, [notice.member], now, (Fate.OBSOLETE, UNCONFIRMED))
        after = given_up._replace(notified=RESOLVED)
    else:
        after = member._replace(notified=notice.notified_before, at=now)
    put_member(state, after, member)


def _open_dead_letter(state: State, conversation: int, recipient: str) -> DeadLetterRow | None:
    found = state.dead_letters.of("open of conversation", conversation)
    return next((each for each in found if each.recipient == recipient), None)


def write_dead_letter(state: State, work: Work, reason: str, now: Millis, recipient: str = "") -> None:
    """A letter of what this work was to say. An open one of the conversation takes it in."""
    notices = {each.member: {"status": each.status, "notified": each.notified_before} for each in work.notice}
    dead_letter = _open_dead_letter(state, work.id, recipient)
    if dead_letter is None:
        state.dead_letters.put(
            DeadLetterRow(
                state.new_id(), work.id, work.conversation.destination, now, reason, "dead", None,
                _written(notices), recipient,
            )
        )  # fmt: skip
        return
    if not notices:  # it has them already
        state.dead_letters.put(dead_letter._replace(at=now, reason=reason))
        return
    for member, notice in _notices(dead_letter).items():
        known = notices.setdefault(member, notice)
        # What may be known of its firing there is known until its end is notified. What the others know, one who was
        # left out before does not.
        if recipient or notice["notified"] not in NOT_FIRING:
            known["notified"] = notice["notified"]
    state.dead_letters.put(dead_letter._replace(at=now, reason=reason, notices=_written(notices)))


def _written(notices: dict[int, dict[str, str]]) -> str:
    return json.dumps([{"member": member, **notice} for member, notice in notices.items()])


def _notices(dead_letter: DeadLetterRow) -> dict[int, dict[str, str]]:
    return {each.pop("member"): each for each in json.loads(dead_letter.notices)}


def notify_instead(state: State, work: Work, reason: str, policy: Policy, now: Millis) -> frozenset[str]:
    """The ``on_failure`` receiver is notified of what this work could not say.

    The destinations that have something to do now.
    """
    key = work.conversation.destination
    others = _failover_destinations(policy, key)
    if not others:
        return frozenset()
    want_notified_instead(state, work, policy, now)
    woken: set[str] = set()
    for notice in work.notice:
        alert = state.alerts[state.members[notice.member].alert_id]
        if notice.status != FIRING or alert.status != FIRING:
            continue
        decisions = []
        for other in others:
            # One that was to be notified anyway is so anyway: two that stand in for each other don't go round. But
            # what is held back there waits no more.
            fate = fates.of_last_change(state, alert.id, other.key)
            if fate is None or fate.fate == Fate.HELD:
                kind, at = DecisionKind.SEND, now
                if other.digest:
                    kind, at = DecisionKind.DIGEST, policy.schedules[other.key].next(now)
                decisions.append(
                    Decision(
                        other, kind, at, f"on_failure of {key}", f"{key} failed: {reason}", failover=True
                    )
                )  # fmt: skip
        subject = subject_of(state, alert, work.group or alert.group_id)
        Transitions(state, policy, subject, now).fire(decisions, None)
        woken.update(each.destination.key for each in decisions)
    return frozenset(woken)


def _failover_destinations(policy: Policy, key: str) -> list[Destination]:
    """The destinations of its ``on_failure`` receiver."""
    receiver = next(
        (each.on_failure for several in policy.receivers.values() for each in several if each.key == key),
        None,
    )
    return [each for each in policy.receivers.get(receiver or "", ()) if each.key != key]


def want_notified_instead(state: State, work: Work, policy: Policy, now: Millis) -> None:
    """Have the rows loaded that :func:`notify_instead` asks for, in rounds. :raises Missing:"""
    others = _failover_destinations(policy, work.conversation.destination)
    if not others:
        return
    state.members.want("id", (each.member for each in work.notice))
    state.ready()
    ids = {state.members[each.member].alert_id for each in work.notice}
    state.alerts.want("id", ids)
    state.members.want("open of alert", ids)
    state.ready()
    members = [member for id_ in ids for member in state.members.of("open of alert", id_)]
    last = [number for id_ in ids if (number := state.alerts[id_].last_change_id) is not None]
    state.fates.want("change", last)
    state.changes.want("id", last)
    state.fates.want("open of member", (member.id for member in members))
    state.conversations.want("id", {member.conversation_id for member in members})
    groups = {id_: work.group or state.alerts[id_].group_id for id_ in ids}
    state.groups.want("id", groups.values())
    state.ready()
    subjects = (subject_of(state, state.alerts[id_], group) for id_, group in groups.items())
    want_memberships(state, policy, ((each, others) for each in subjects), now)


def retry(state: State, dead_letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
    """Try a dead letter again: what of it is still so becomes due, the rest is obsolete.

    The destinations that have something to do now; None: there is no such letter, or it is settled.

    :raises UnderWay: of a letter of one recipient; nothing was changed
    """
    row = _unsettled(state, dead_letter)
    if row is None:
        return None
    if row.recipient:
        if state.conversations[row.conversation_id].delivery_id is not None:
            raise DeliveryUnderWay
        _retry_alone(state, row, policy, now)
    else:
        notices = _notices(row)
        state.together(
            partial(_retry, state, row, member, notice, policy, now) for member, notice in notices.items()
        )
    return settle(state, dead_letter, RETRIED, now)


def retry_some(
    state: State, dead_letter: int, notices: Mapping[int, dict[str, str]], policy: Policy, now: Millis
) -> bool:
    """As :func:`retry`, for some alerts of very many, before :func:`settle`. It may run twice. False: it is settled."""
    row = _unsettled(state, dead_letter)
    if row is None:
        return False
    state.together(
        partial(_retry, state, row, member, notice, policy, now) for member, notice in notices.items()
    )
    return True


def discard_some(state: State, dead_letter: int, members: Iterable[int], now: Millis) -> bool:
    """As :func:`discard`, for some alerts of very many, before :func:`settle`. False: it is settled."""
    if _unsettled(state, dead_letter) is None:
        return False
    for member in members:
        fates.settle_dead(state, member, Fate.DROPPED, DISCARDED, now)
    return True


def settle(state: State, dead_letter: int, how: str, now: Millis) -> frozenset[str] | None:
    """What is to be done about each alert of a letter is done. The destinations that have something to do now; None: it
    is settled already.
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
    """What is known of the alerts of a letter, by member, if they are so many that it is settled in pieces."""
    row = _unsettled(state, dead_letter)
    if row is None or row.recipient or len(row.notices) < LARGE:  # each takes more than a character
        return {}
    notices = _notices(row)
    return notices if len(notices) > LARGE else {}


def _unsettled(state: State, dead_letter: int) -> DeadLetterRow | None:
    row = state.dead_letters.get(dead_letter)
    return row if row is not None and row.state == "dead" else None


def _retry_in_next_digest(state: State, destination: str, member: int, policy: Policy, now: Millis) -> None:
    there = destination in policy.schedules
    fate, reason = (Fate.DIGEST, "tried again by hand") if there else (Fate.DROPPED, "its digest is gone")
    fates.settle_dead(state, member, fate, reason, now)
    if there:
        report_next(state, state.members[member], destination, policy, now)


def _retry(
    state: State, dead_letter: DeadLetterRow, id_: int, notice: dict[str, str], policy: Policy, now: Millis
) -> None:
    member = state.members.get(id_)
    if member is None:  # over for so long that it was pruned
        return
    conversation = state.conversations[member.conversation_id]
    there, is_open = dead_letter.destination, conversation.state == rows.OPEN
    if conversation.slot is not None:
        _retry_in_next_digest(state, there, id_, policy, now)
        return
    fate, reason = Fate.OBSOLETE, NEVER_NOTIFIED
    firing, after = member.status == FIRING, member
    # It is reached by the rules, or because it has yet to be notified of other ends.
    if not policy.names(there) and state.destinations.get(there) is None:
        fate, reason = Fate.DROPPED, "its destination is gone from the rules"
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


def _out_of_reach(state: State, member: MemberRow, reason: str, now: Millis) -> MemberRow:
    """The destination is gone from the rules. Rules that name it again judge the member again."""
    after = member._replace(decision=DROP)
    if member.notified not in NOT_FIRING:
        return after
    fates.move(state, member.id, (Fate.DROPPED, member.rule, reason), now)
    return after._replace(at=None, inhibitor=None)


def _still_shown(state: State, member: MemberRow, notified: str, now: Millis) -> MemberRow:
    """The destination shows, or may show, the firing that ended; so an inhibitor holds back what fires anew no longer."""
    after = member._replace(notified=notified)
    if member.decision != INHIBITED:
        return after
    fate, reason, at = Fate.DELIVERED, "notified already", None
    if notified == UNKNOWN:
        fate, reason, at = Fate.PENDING, "an earlier message about its end may have arrived", now
    fates.move(state, member.id, (fate, member.rule, reason), now)
    return after._replace(decision=SEND, at=at, reason=reason, inhibitor=None, held_since=None)


def _retry_alone(state: State, dead_letter: DeadLetterRow, policy: Policy, now: Millis) -> None:
    """One recipient is notified of what the others know of what still fires, or of an end whose beginning it was
    notified of.
    """
    conversation = state.conversations[dead_letter.conversation_id]
    if conversation.slot is not None:  # its next digest goes to everybody
        return
    remote: dict[str, Any] = json.loads(conversation.remote)
    late = remote.get(LATE, {"to": []})
    if conversation.partly:  # others are asked once more already
        late["to"].append(dead_letter.recipient)
        keep_remote(state, conversation.id, remote, state=rows.OPEN)
        return
    over = conversation.state != rows.OPEN
    if over and not _is_end_sent(state, conversation, policy):
        return
    known = RESOLVED if over else FIRING
    found = False
    for id_, notice in _notices(dead_letter).items():
        member = state.members.get(id_)
        if member is None or (member.status, member.notified) != (known, known):
            continue
        if not over or notice["notified"] not in NOT_FIRING:
            # An end was notified to all others: what fires anew is news to everybody, so this is no mere "firing".
            after = member._replace(notified=UNKNOWN if over else FIRING, at=now)
            put_member(state, after, member)
            found = True
    if not found:
        return
    everybody = [*late["to"], dead_letter.recipient]
    remote[LATE] = {"to": everybody, "state": KNOWN_OVER if over else KNOWN_FIRING}
    keep_remote(state, conversation.id, remote, state=rows.OPEN)
    for member in state.members.of("conversation", conversation.id):
        state.members.put(member._replace(open=1))


def _is_end_sent(state: State, conversation: ConversationRow, policy: Policy) -> bool:
    """Return whether the end of a conversation is still to be sent to a recipient that was left out."""
    newest = latest(state, conversation.token)
    if newest is not None and newest.id != conversation.id:
        return False  # the group fires again, and the recipient is notified of that
    return sends_ends(state, policy, conversation.destination)


def discard(state: State, dead_letter: int, now: Millis) -> bool:
    """Somebody has seen it, and nobody is to be notified. False: there is no such letter, or it is settled."""
    row = _unsettled(state, dead_letter)
    if row is None:
        return False
    for member in _notices(row):
        fates.settle_dead(state, member, Fate.DROPPED, DISCARDED, now)
    settle(state, dead_letter, "discarded", now)
    return True


def want_dead_letter(state: State, dead_letter: int) -> None:
    """Have the rows loaded that :func:`retry` and :func:`discard` ask for, in rounds. :raises Missing:"""
    state.dead_letters.want("id", (dead_letter,))
    state.ready()
    row = _unsettled(state, dead_letter)
    if row is None or notices_if_many(state, dead_letter):
        return
    want_settled(state, row, list(_notices(row)))


def want_some(state: State, dead_letter: int, members: Sequence[int]) -> None:
    """Have the rows loaded that :func:`retry_some`, :func:`discard_some` and :func:`settle` ask for, in rounds.
    :raises Missing:
    """
    state.dead_letters.want("id", (dead_letter,))
    state.ready()
    row = _unsettled(state, dead_letter)
    if row is not None:
        want_settled(state, row, members)


def want_settled(state: State, row: DeadLetterRow, members: Sequence[int]) -> None:
    state.conversations.want("id", (row.conversation_id,))
    state.ready()
    if state.conversations[row.conversation_id].size <= LARGE:
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
