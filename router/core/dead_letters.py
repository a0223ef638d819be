"""Dead letters: what was given up, and which destinations are notified instead.

Retrying and discarding them is in :mod:`router.core.dead_letter_settling`.
"""

import json

from router.core import digests, fates
from router.core.claimed_delivery import ClaimedDelivery, Notice
from router.core.conversations import change, find_due, put_member
from router.core.fates import ANY_GENERATION
from router.core.firing import FiringTransition
from router.core.judging import want_open_fates
from router.core.members import NEVER_NOTIFIED
from router.core.rows import (
    FIRING,
    GIVEN_UP,
    NOT_FIRING,
    RESOLVED,
    DeadLetterRow,
)
from router.core.state import State
from router.core.subjects import subject_of, want_memberships
from router.core.unsent_ends import UNCONFIRMED, sends_ends, settle_fates
from router.decide import Policy
from router.model import (
    Decision,
    DecisionKind,
    Destination,
    Fate,
    Millis,
    Refusal,
)


def give_up(state: State, work: ClaimedDelivery, reason: str, policy: Policy, now: Millis) -> frozenset[str]:
    """Give up an attempt: write a dead letter, and notify the destination's ``on_failure`` receiver instead.

    Return the keys of the destinations that have something to send now.
    """
    digest = work.conversation.digest is not None
    _give_up_members(state, work, reason, policy, now)
    change(
        state, state.conversations[work.id], observed_generation=work.conversation.version, attempts=0,
        not_before=0, tried_since=None,
    )  # fmt: skip
    write_dead_letter(state, work, reason, now)
    woken = notify_instead(state, work, reason, policy, now)
    if digest:
        digests.finish_digest(state, work.id, policy, now)
    elif state.conversations[work.id].waiting:
        find_due(state, work.id)
    return woken


def give_up_some(
    state: State, work: ClaimedDelivery, reason: str, policy: Policy, now: Millis
) -> frozenset[str]:
    """Give up some alerts of a large conversation. Call it after the dead letter is written and before the attempt
    ends.
    """
    _give_up_members(state, work, reason, policy, now)
    return notify_instead(state, work, reason, policy, now)


def _give_up_members(state: State, work: ClaimedDelivery, reason: str, policy: Policy, now: Millis) -> None:
    slot = state.conversations[work.id].slot
    for each in work.notices:
        fates.finish(state, each.member, work.conversation.version, Fate.DEAD, reason, now, slot)
        if work.conversation.digest is None:
            _give_up_member(state, each, reason, work.conversation.destination, policy, now)


def give_up_recipients(
    state: State, work: ClaimedDelivery, refused: tuple[Refusal, ...], policy: Policy, now: Millis
) -> frozenset[str]:
    """Give up single recipients of an attempt: write a dead letter for each, and notify the ``on_failure`` receiver.

    Return the keys of the destinations that have something to send now.
    """
    woken: set[str] = set()
    for each in refused:
        write_dead_letter(state, work, each.shown, now, each.recipient)
        woken |= notify_instead(state, work, f"{each.recipient}: {each.shown}", policy, now)
    return frozenset(woken)


def _give_up_member(
    state: State, notice: Notice, reason: str, destination: str, policy: Policy, now: Millis
) -> None:
    """Give up one member. Changes that arrived during the attempt count: an end, a new firing, or a repeat."""
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


def write_dead_letter(
    state: State, work: ClaimedDelivery, reason: str, now: Millis, recipient: str = ""
) -> None:
    """Write a dead letter of an attempt, or add the attempt to the conversation's open dead letter."""
    notices = {
        each.member: {"status": each.status, "notified": each.notified_before} for each in work.notices
    }
    dead_letter = _open_dead_letter(state, work.id, recipient)
    urgency = state.conversations[work.id].urgency
    if dead_letter is None:
        state.dead_letters.put(
            DeadLetterRow(
                state.new_id(), work.id, work.conversation.destination, now, reason, "dead", None,
                _written(notices), recipient, urgency,
            )
        )  # fmt: skip
        return
    if not notices:  # the letter has them already
        state.dead_letters.put(dead_letter._replace(at=now, reason=reason, urgency=urgency))
        return
    for member, notice in notices_of(dead_letter).items():
        known = notices.setdefault(member, notice)
        # A firing that the destination may know stays known until its end is notified. A recipient that was left out
        # before does not know what the others know.
        if recipient or notice["notified"] not in NOT_FIRING:
            known["notified"] = notice["notified"]
    state.dead_letters.put(
        dead_letter._replace(at=now, reason=reason, notices=_written(notices), urgency=urgency)
    )


def _written(notices: dict[int, dict[str, str]]) -> str:
    return json.dumps([{"member": member, **notice} for member, notice in notices.items()])


def notices_of(dead_letter: DeadLetterRow) -> dict[int, dict[str, str]]:
    return {each.pop("member"): each for each in json.loads(dead_letter.notices)}


def notify_instead(
    state: State, work: ClaimedDelivery, reason: str, policy: Policy, now: Millis
) -> frozenset[str]:
    """Notify the ``on_failure`` receiver of the firings that this attempt could not deliver.

    Return the keys of the destinations that have something to send now.
    """
    key = work.conversation.destination
    others = _failover_destinations(policy, key)
    if not others:
        return frozenset()
    want_notified_instead(state, work, policy, now)
    woken: set[str] = set()
    for notice in work.notices:
        alert = state.alerts[state.members[notice.member].alert_id]
        if notice.status != FIRING or alert.status != FIRING:
            continue
        decisions = []
        for other in others:
            # A destination that the rules notify of the alert anyway is left out, so two destinations that stand in for
            # each other make no loop. An alert that is held at the other destination is sent now.
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
        FiringTransition(state, policy, subject, now).fire(decisions, None)
        woken.update(each.destination.key for each in decisions)
    return frozenset(woken)


def _failover_destinations(policy: Policy, key: str) -> list[Destination]:
    """Return the destinations of the ``on_failure`` receiver of this destination."""
    receiver = next(
        (each.on_failure for several in policy.receivers.values() for each in several if each.key == key),
        None,
    )
    return [each for each in policy.receivers.get(receiver or "", ()) if each.key != key]


def want_notified_instead(state: State, work: ClaimedDelivery, policy: Policy, now: Millis) -> None:
    """Request the rows that :func:`notify_instead` needs. :raises MissingRows: some are not loaded yet"""
    others = _failover_destinations(policy, work.conversation.destination)
    if not others:
        return
    state.members.want("id", (each.member for each in work.notices))
    state.ready()
    ids = {state.members[each.member].alert_id for each in work.notices}
    state.alerts.want("id", ids)
    state.members.want("open of alert", ids)
    state.ready()
    members = [member for id_ in ids for member in state.members.of("open of alert", id_)]
    groups = {id_: work.group or state.alerts[id_].group_id for id_ in ids}
    state.groups.want("id", groups.values())
    want_open_fates(state, (state.alerts[id_] for id_ in ids), members)
    subjects = (subject_of(state, state.alerts[id_], group) for id_, group in groups.items())
    want_memberships(state, policy, ((each, others) for each in subjects), now)
