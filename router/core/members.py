"""Transitions of a member: what a decision, a change or an end does to one alert in one conversation, and to its fates.

A hold or an inhibition only delays a first notification. A destination that was notified of an alert is notified of its
end, unless it has ``send_resolved: false``.
"""

from collections.abc import Iterable
from typing import Any

from router.core import fates, rows
from router.core.conversations import (
    bump,
    latest,
    open_conversation,
    open_members,
    open_slot,
    put_member,
)
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
    ConversationRow,
    MemberRow,
)
from router.core.state import State
from router.core.subjects import Subject
from router.core.unsent_ends import NOT_SENT, sends_ends, settle_ends
from router.decide import Policy
from router.model import MINUTE, Decision, DecisionKind, Destination, Fate, Millis

FATE_OF = {
    DecisionKind.SEND: Fate.PENDING,
    DecisionKind.HOLD: Fate.HELD,
    DecisionKind.DIGEST: Fate.DIGEST,
    DecisionKind.INHIBITED: Fate.INHIBITED,
    DecisionKind.DROP: Fate.DROPPED,
}
NO_DESTINATION = "none"
"""The destination in the ledger for a receiver without destinations."""
NEVER_NOTIFIED = "ended before anyone was notified"
IN_DOUBT = "contradicts a recent end; counts as firing unless the end is reported again"
# A notification is later than its change, but the next repeat is on time: a repeat may come this much early.
REPEAT_LAG: Millis = MINUTE


class Transitions:
    """Applies decisions about one alert, or its end, to its members.

    A change reports the alert. Without a change (the rules, an inhibitor or the hour changed), only members whose
    destination was not notified move.
    """

    def __init__(
        self,
        state: State,
        policy: Policy,
        subject: Subject,
        now: Millis,
        note: str = "",
        *,
        doubt: bool = False,
        deciding: int | None = None,
    ) -> None:
        """
        :param note: why the alert counts as ended although no sender resolved it; empty: a sender did
        :param doubt: the sender reports it as firing; it counts as ended until the doubt is settled
        :param deciding: id of a webhook that is decided in pieces; conversations of its group wait for the last piece
        """
        self._state = state
        self._policy = policy
        self._subject = subject
        self._now = now
        self._obsolete = f"{note}, before anyone was notified" if note else NEVER_NOTIFIED
        self._notified_already = "notified already"
        if doubt:
            self._obsolete = self._notified_already = IN_DOUBT
        self._unsent = (Fate.OBSOLETE, IN_DOUBT) if doubt else (Fate.DROPPED, NOT_SENT)
        """The fate of an end, and the reason, at a destination that gets no message for it."""
        levels = policy.severity.levels
        self._deciding = deciding
        self._rank = levels.index(subject.level) if subject.level in levels else len(levels)
        self.ended_in: set[int] = set()
        """Ids of the open conversations in which the alert ended; they may have nothing left to say."""

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
                self._fate(change, key, None, (fate, decision.rule, reason), 0)
            return
        stands = member is not None and conversation.urgency <= self._rank and _is_unchanged(member, decision)
        if change is None and member is not None and (stands or _is_known_firing(member)):
            return  # the state is the same, so the generation stays: providers drop a version that they have seen
        if member is None:
            member_id = self._add(conversation.id, decision)
        else:
            member_id = member.id
            fate, reason = self._fire_again(member, decision, is_reported=change is not None)
        generation = conversation.generation
        if not fresh:
            group = None if decision.destination.digest else self._subject.group
            generation = bump(
                state, conversation.id, self._rank, group, self._awaited_webhook(conversation)
            ).generation
        if change is not None or member is None:
            self._fate(change, key, member_id, (fate, decision.rule, reason), generation)

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
        if decision.repeat is None:
            return False
        last = self._state.conversations[member.conversation_id].notified_at
        return last is None or self._now - last >= decision.repeat - REPEAT_LAG

    def _is_concerned(self, decision: Decision) -> bool:
        """Return whether the alert has an open member there, or its last change has no fate at the destination."""
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

    def _awaited_webhook(self, conversation: ConversationRow) -> int | None:
        """Return the id of the webhook whose other alerts may concern the conversation; None: there is none."""
        of_group = conversation.kind == OF_GROUP and conversation.group_id == self._subject.group
        return self._deciding if of_group else None

    def resolve(self, decisions: Iterable[Decision], change: int) -> set[str]:
        """Apply the alert's end: it is due where the firing was notified, and obsolete where it was not.

        Return the keys of the destinations; the change has one fate at each.
        """
        state = self._state
        fated: dict[str, tuple[MemberRow, Fate, str, int]] = {}
        for member in reversed(open_members(state, self._subject.alert)):
            conversation = state.conversations[member.conversation_id]
            key = conversation.destination
            fate, reason = self._end(member, conversation)
            generation = bump(
                state, conversation.id, self._rank, None, self._awaited_webhook(conversation)
            ).generation
            self.ended_in.add(conversation.id)
            if key not in fated or fate is Fate.PENDING:
                fated[key] = (member, fate, reason, generation)
        for key, (member, fate, reason, generation) in fated.items():
            self._fate(change, key, member.id, (fate, member.rule, reason), generation)
        named = set(fated)
        for decision in decisions:
            key = decision.destination.key
            if key not in named:
                if self._end_was_notified(decision.destination):
                    sent = Fate.DELIVERED, self._notified_already
                    fate, reason = sent if decision.destination.send_resolved else self._unsent
                elif decision.kind is DecisionKind.DROP:
                    fate, reason = Fate.DROPPED, decision.reason
                else:
                    fate, reason = Fate.OBSOLETE, self._obsolete
                self._fate(change, key, None, (fate, decision.rule, reason), 0)
                named.add(key)
        if not named:
            self._drop_without_destination(change)
            named.add(NO_DESTINATION)
        return named

    def _end_was_notified(self, destination: Destination) -> bool:
        """Return whether the last conversation there, which is closed, has notified the end."""
        if destination.digest:
            return False
        last = latest(self._state, self._subject.token(destination))
        if last is None:
            return False
        member = self._state.members.one("pair", (last.id, self._subject.alert))
        return member is not None and member.notified == RESOLVED

    def drop(self, member: MemberRow, reason: str) -> None:
        """Drop a member: its destination is not to be notified any more."""
        self._put(member, decision=DROP, at=None, inhibitor=None, reason=reason)
        self._move(member.id, Fate.DROPPED, member.rule, reason)

    def _end(self, member: MemberRow, conversation: ConversationRow) -> tuple[Fate, str]:
        """Apply the end to one member; return the fate and its reason."""
        if member.notified not in NOT_FIRING:
            if not sends_ends(self._state, self._policy, conversation.destination):
                return self._end_unsent(member, conversation)
            if member.status == FIRING:
                self._put(member, status=RESOLVED, at=self._now)
            return Fate.PENDING, "its end is to be sent"
        if conversation.slot is not None and member.decision == rows.DIGEST:
            self._put(member, status=RESOLVED, at=None)
            return Fate.DIGEST, member.reason
        if member.notified == RESOLVED and member.status == RESOLVED:
            sent = sends_ends(self._state, self._policy, conversation.destination)
            return (Fate.DELIVERED, self._notified_already) if sent else self._unsent
        self._put(member, status=RESOLVED, at=None, inhibitor=None)
        fates.make_obsolete(self._state, member.id, member.rule, self._obsolete, self._now)
        return Fate.OBSOLETE, self._obsolete

    def _end_unsent(self, member: MemberRow, conversation: ConversationRow) -> tuple[Fate, str]:
        """Apply the end at a destination that gets no message for it."""
        if member.notified != UNKNOWN or conversation.delivery_id is None:
            settle_ends(self._state, [member], self._now)
        elif (
            member.status == FIRING
        ):  # the outcome of the attempt settles it; after a restart, the next claim does
            self._put(member, status=RESOLVED, at=self._now)
        return self._unsent

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
                new = fate, decision.rule, decision.reason
                fates.decide(self._state, row, new, self._now, self._policy.configuration.id)

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

    def _put(self, member: MemberRow, **values: Any) -> None:
        put_member(self._state, member._replace(**values), member)

    def _move(self, member: int, fate: Fate, rule: str, reason: str) -> None:
        fates.move(self._state, member, (fate, rule, reason), self._now, self._policy.configuration.id)

    def _drop_without_destination(self, change: int) -> None:
        """Record a change whose receiver has no destinations: the rules drop it on purpose."""
        self._fate(
            change, NO_DESTINATION, None, (Fate.DROPPED, "route", "its receiver has no destinations"), 0
        )

    def _fate(
        self,
        change: int | None,
        destination: str,
        member: int | None,
        decision: fates.FateDecision,
        generation: int,
    ) -> None:
        state = self._state
        if change is None:  # the rules have added this destination since the change was accepted
            change = state.alerts[self._subject.alert].last_change_id
            if change is None:
                return
            row = state.changes[change]
            state.changes.put(row._replace(destinations=row.destinations + 1))
        configuration = self._policy.configuration.id
        fates.add(state, change, destination, member, decision, generation, self._now, configuration)


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
