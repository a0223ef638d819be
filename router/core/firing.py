"""Firing: what a decision about a firing alert changes in its conversations, and in the fates of its changes.

A hold or an inhibition only delays a first notification.
"""

from collections.abc import Iterable

from router.core import fates, rows
from router.core.conversations import latest, open_conversation, open_members, open_slot, put_member
from router.core.due_times import member_time
from router.core.members import MemberTransition
from router.core.rows import (
    DROP,
    FIRING,
    GIVEN_UP,
    NOT_FIRING,
    NOTHING,
    OF_ALERT,
    OF_GROUP,
    RESOLVED,
    UNKNOWN,
    ChangeRow,
    ConversationRow,
    MemberRow,
)
from router.model import MINUTE, Decision, DecisionKind, Fate, Millis

FATE_OF = {
    DecisionKind.SEND: Fate.PENDING,
    DecisionKind.HOLD: Fate.HELD,
    DecisionKind.DIGEST: Fate.DIGEST,
    DecisionKind.INHIBITED: Fate.INHIBITED,
    DecisionKind.DROP: Fate.DROPPED,
}
# A notification is later than its change, but the next repeat is on time: a repeat may come this much early.
REPEAT_LAG: Millis = MINUTE


class FiringTransition(MemberTransition):
    """Applies decisions about a firing alert to its members.

    Usually a change reports the alert. Without a change (the rules, an inhibitor or the hour changed), only those
    members are changed whose destination was not notified.
    """

    def fire(self, decisions: Iterable[Decision], change: int | None) -> None:
        """Apply decisions about a firing alert. Each decision about a change gets a fate.

        A change without decisions gets one fate, ``dropped`` at :data:`NO_DESTINATION`.
        """
        none = True
        for decision in decisions:
            none = False
            self._fire(decision, change)
        if none and change is not None:
            self._drop_without_destination(change)

    def _fire(self, decision: Decision, change: int | None) -> None:
        """Apply one decision, see :meth:`fire`."""
        if change is None and not self._is_concerned(decision):
            return
        state = self._state
        key, fate, reason = decision.destination.key, FATE_OF[decision.kind], decision.reason
        conversation, fresh = self._open(decision, change)
        member = None
        if conversation is not None and not fresh:
            member = state.members.one("pair", (conversation.id, self._subject.alert))
        if conversation is None or (member is None and not fresh and decision.kind is DecisionKind.DROP):
            if change is not None:
                self._add_fate(change, key, None, (fate, decision.rule, reason), 0)
            return
        stands = member is not None and conversation.urgency <= self._rank and _is_unchanged(member, decision)
        if change is None and member is not None and (stands or _is_known_firing(member)):
            # The state is the same, so it keeps its generation: providers drop a generation that they have seen.
            return
        if member is None:
            member_id = self._add(conversation.id, decision)
        else:
            member_id = member.id
            fate, reason = self._fire_again(member, decision, is_reported=change is not None)
        generation = conversation.generation
        if not fresh:
            group = None if decision.destination.digest else self._subject.group
            generation = self._next_generation(conversation, group)
        tenant = None
        if change is None and member is None and (last := self._last_change()) is not None:
            change, tenant = last.id, last.tenant
        if change is not None:
            there = state.members[member_id]
            self._add_fate(change, key, there, (fate, decision.rule, reason), generation, tenant)

    def _fire_again(self, member: MemberRow, decision: Decision, *, is_reported: bool) -> tuple[Fate, str]:
        """Apply a firing to an existing member; return the fate and its reason. A member that was given up stays so
        until Alertmanager reports the alert again.

        :param is_reported: a change reports the firing
        """
        if member.notified == FIRING:
            if member.status == RESOLVED:
                again = "fired again before its end was sent"
                fates.make_obsolete(self._state, member.id, decision.rule, again, self._now)
                self._put(member, status=FIRING, at=None)
            elif is_reported and self._repeats(member, decision):
                self._put(member, at=self._now)
                return Fate.PENDING, "a repeat is to be sent"
            return Fate.DELIVERED, "notified already"
        if member.notified == UNKNOWN:
            if member.status == RESOLVED or (is_reported and member.decision == GIVEN_UP):
                self._put(member, status=FIRING, decision=rows.SEND, at=self._now)
            return Fate.PENDING, decision.reason
        fate = FATE_OF[decision.kind]
        if member.decision != GIVEN_UP or is_reported:
            self._decide(member, decision, fate)
            if not is_reported and member.decision == DROP and decision.kind is not DecisionKind.DROP:
                self._reopen(member, decision, fate)
        return fate, decision.reason

    def _repeats(self, member: MemberRow, decision: Decision) -> bool:
        """Return whether a repeat is to be sent: the last notification is old enough."""
        if decision.repeat is None:
            return False
        last = self._state.conversations[member.conversation_id].notified_at
        return last is None or self._now - last >= decision.repeat - REPEAT_LAG

    def _is_concerned(self, decision: Decision) -> bool:
        """Return whether the alert has an open member at the destination, or its last change has no fate there."""
        state, destination = self._state, decision.destination
        token = "" if destination.digest else self._subject.token(destination)
        for member in open_members(state, self._subject.alert):
            conversation = state.conversations[member.conversation_id]
            same = conversation.destination == destination.key
            if same and (destination.digest or conversation.token == token):
                return True
        return fates.of_last_change(state, self._subject.alert, destination.key) is None

    def _open(self, decision: Decision, change: int | None) -> tuple[ConversationRow | None, bool]:
        """Return the conversation that the decision concerns, and whether it is new. None: a ``drop`` concerns no open
        conversation.
        """
        state, now, destination = self._state, self._now, decision.destination
        if destination.digest:
            if change is None:  # the alert may be in a slot that is overdue
                for member in reversed(open_members(state, self._subject.alert)):
                    conversation = state.conversations[member.conversation_id]
                    if conversation.destination == destination.key:
                        return conversation, False
            if decision.kind is DecisionKind.DROP:
                return None, False
            return open_slot(state, self._policy, destination.key, now, generation=1, urgency=self._rank)
        if decision.kind is DecisionKind.DROP:
            last = latest(state, self._subject.token(destination))
            return (last if last is not None and last.state == rows.OPEN else None), False
        source, subject = self._subject.at(destination)
        return open_conversation(
            state, destination.key, source, OF_ALERT if destination.per_alert else OF_GROUP, subject, now,
            group_id=self._subject.group, generation=1, urgency=self._rank,
            deciding=None if destination.per_alert else self._deciding,
        )  # fmt: skip

    def drop(self, member: MemberRow, reason: str) -> None:
        """Drop a member: its destination is not to be notified any more."""
        self._put(member, decision=DROP, at=None, inhibitor=None, reason=reason)
        self._move(member.id, Fate.DROPPED, member.rule, reason)

    def _decide(self, member: MemberRow, decision: Decision, fate: Fate) -> None:
        """Apply the newest decision to a member whose destination does not know that the alert fires."""
        waited = member.status == FIRING and member.decision in (rows.SEND, rows.HOLD)
        at = _due(decision)
        if decision.kind is DecisionKind.SEND and waited and member.at is not None and at is not None:
            at = min(at, member.at)
        held_since = member.held_since if member.status == FIRING else None
        if held_since is None and decision.kind in (DecisionKind.HOLD, DecisionKind.INHIBITED):
            held_since = self._now
        self._put(
            member, status=FIRING, decision=str(decision.kind), at=at, rule=decision.rule,
            reason=decision.reason, inhibitor=decision.inhibitor, held_since=held_since,
            failover=int(decision.failover),
        )  # fmt: skip
        self._move(member.id, fate, decision.rule, decision.reason)

    def _reopen(self, member: MemberRow, decision: Decision, fate: Fate) -> None:
        """Give the last change of a member this fate: the rules dropped it before, and no longer do."""
        last = self._state.alerts[self._subject.alert].last_change_id
        for row in self._state.fates.of("change", last) if last is not None else ():
            if row.member_id == member.id and row.fate == Fate.DROPPED:
                new, at = (fate, decision.rule, decision.reason), self._time_of(member.id)
                fates.decide_again(self._state, row, new, self._now, self._policy.configuration.id, at=at)

    def _add(self, conversation: int, decision: Decision) -> int:
        held = decision.kind in (DecisionKind.HOLD, DecisionKind.INHIBITED)
        return put_member(
            self._state,
            MemberRow(
                self._state.new_id(), conversation, self._subject.alert, 1, FIRING, NOTHING,
                str(decision.kind), _due(decision), decision.rule, decision.reason, decision.inhibitor,
                self._now if held else None, int(decision.failover),
            ),
        ).id  # fmt: skip

    def _move(self, member: int, fate: Fate, rule: str, reason: str) -> None:
        configuration, at = self._policy.configuration.id, self._time_of(member)
        fates.decide_open(self._state, member, (fate, rule, reason), self._now, configuration, at=at)

    def _time_of(self, member: int) -> Millis | None:
        """Return when a member is due, see :func:`router.core.due_times.member_time`."""
        row = self._state.members[member]
        return member_time(row, self._state.conversations[row.conversation_id])

    def _last_change(self) -> ChangeRow | None:
        """Return the last change of the alert, and count one more fate of it: the rules have added a destination since it
        was accepted. None: the alert has no change.
        """
        state = self._state
        last = state.alerts[self._subject.alert].last_change_id
        if last is None:
            return None
        row = state.changes[last]
        return state.changes.put(row._replace(destinations=row.destinations + 1))


def _is_known_firing(member: MemberRow) -> bool:
    """Return whether the alert fires and the destination was, or may have been, notified of it."""
    return member.status == FIRING and member.notified not in NOT_FIRING


def _is_unchanged(member: MemberRow, decision: Decision) -> bool:
    """Return whether the decision is the same as before, for an alert whose firing was not notified.

    After a reload this is so for most alerts.
    """
    before = member.status, member.decision, member.rule, member.reason, member.inhibitor, member.failover
    same = (
        FIRING,
        str(decision.kind),
        decision.rule,
        decision.reason,
        decision.inhibitor,
        decision.failover,
    )
    if before != same or member.notified not in NOT_FIRING:
        return False
    at = _due(decision)
    if decision.kind is DecisionKind.SEND and at is not None:
        return member.at is not None and member.at <= at
    return member.at == at


def _due(decision: Decision) -> Millis | None:
    """Return when a member is due; None: it is not due by itself. A digest's members go out with its slot."""
    return decision.at if decision.kind in (DecisionKind.SEND, DecisionKind.HOLD) else None
