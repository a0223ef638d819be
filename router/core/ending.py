"""Ending: what the end of an alert changes in its conversations, and in the fates of its changes.

A destination that was notified of an alert is notified of its end, unless it has ``send_resolved: false``. An end that was
given up is sent again when it is reported again, like a firing.
"""

from collections.abc import Iterable

from router.core import fates, rows
from router.core.conversations import latest, open_members
from router.core.members import DESTINATION_REMOVED, NEVER_NOTIFIED, NO_DESTINATION, MemberTransition
from router.core.rows import (
    FIRING,
    GIVEN_UP,
    NOT_FIRING,
    RESOLVED,
    SEND,
    UNKNOWN,
    ConversationRow,
    MemberRow,
)
from router.core.state import State
from router.core.subjects import Subject
from router.core.unsent_ends import NOT_SENT, has_lane, sends_ends, settle_ends
from router.decide import Policy
from router.model import Change, Decision, DecisionKind, Destination, Fate, Millis

IN_DOUBT = "contradicts a recent end; counts as firing unless the end is reported again"
"""The reason of a fate: a sender reports the alert as firing, but it counts as ended until the doubt is settled."""


class EndTransition(MemberTransition):
    """Applies the end of an alert to its members."""

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
        super().__init__(state, policy, subject, now, deciding=deciding)
        self._obsolete = f"{note}, before anyone was notified" if note else NEVER_NOTIFIED
        self._notified_already = "notified already"
        if doubt:
            self._obsolete = self._notified_already = IN_DOUBT
        self._is_doubt = doubt
        self._unsent = (Fate.OBSOLETE, IN_DOUBT) if doubt else (Fate.DROPPED, NOT_SENT)
        """The fate of an end, and the reason, at a destination that gets no message for it."""
        self.ended_in: set[int] = set()
        """Ids of the open conversations in which the alert ended; they may have nothing left to say."""

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
            generation = self._next_generation(conversation, None)
            self.ended_in.add(conversation.id)
            if key not in fated or fate is Fate.PENDING:
                fated[key] = (member, fate, reason, generation)
        for key, (member, fate, reason, generation) in fated.items():
            self._add_fate(change, key, state.members[member.id], (fate, member.rule, reason), generation)
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
                self._add_fate(change, key, None, (fate, decision.rule, reason), 0)
                named.add(key)
        if not named:
            self._drop_without_destination(change)
            named.add(NO_DESTINATION)
        return named

    def _end_was_notified(self, destination: Destination) -> bool:
        """Return whether the last conversation at the destination, which is closed, has notified the end."""
        if destination.digest:
            return False
        last = latest(self._state, self._subject.token(destination))
        if last is None:
            return False
        member = self._state.members.one("pair", (last.id, self._subject.alert))
        return member is not None and member.notified == RESOLVED

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
            return self._repeat_end(member, conversation.destination)
        self._put(member, status=RESOLVED, at=None, inhibitor=None)
        fates.make_obsolete(self._state, member.id, member.rule, self._obsolete, self._now)
        return Fate.OBSOLETE, self._obsolete

    def _repeat_end(self, member: MemberRow, destination: str) -> tuple[Fate, str]:
        """Apply the repeat of an end to one member: it is sent again if it was given up, unless its destination is gone."""
        state, policy = self._state, self._policy
        if not sends_ends(state, policy, destination):
            return self._unsent
        if self._is_doubt or not _is_given_up_end(state, member):
            return Fate.DELIVERED, self._notified_already
        if not has_lane(state, policy, destination):
            return Fate.DROPPED, DESTINATION_REMOVED
        self._put(member, decision=SEND, notified=UNKNOWN, at=self._now)
        return Fate.PENDING, "its end is to be sent"

    def _end_unsent(self, member: MemberRow, conversation: ConversationRow) -> tuple[Fate, str]:
        """Apply the end at a destination that gets no message for it."""
        if member.notified != UNKNOWN or conversation.delivery_id is None:
            settle_ends(self._state, [member], self._now)
        elif member.status == FIRING:
            # The outcome of the attempt decides what was notified. After a restart there is no outcome: the next claim decides.
            self._put(member, status=RESOLVED, at=self._now)
        return self._unsent


def want_given_up_ends(state: State, policy: Policy, members: Iterable[MemberRow]) -> None:
    """Request the rows that show which of these members have an end that was given up.

    :raises MissingRows: some are not loaded yet
    """
    given_up = [each for each in members if _is_given_up_and_over(each)]
    state.fates.want("dead of member", (each.id for each in given_up))
    state.ready()
    dead = [fate for each in given_up for fate in state.fates.of("dead of member", each.id)]
    state.changes.want("id", (fate.change_id for fate in dead))
    state.destinations.want("id", {each.destination for each in dead} - policy.destinations.keys())
    state.ready()


def _is_given_up_end(state: State, member: MemberRow) -> bool:
    """Return whether the end was given up, and its dead letter is not settled. A given-up firing is no such end."""
    return _is_given_up_and_over(member) and any(
        (change := state.changes.get(fate.change_id)) is not None and change.kind == Change.RESOLVED
        for fate in state.fates.of("dead of member", member.id)
    )


def _is_given_up_and_over(member: MemberRow) -> bool:
    return (member.decision, member.status, member.notified) == (GIVEN_UP, RESOLVED, RESOLVED)
