"""Transitions of a member: what changes one alert in one conversation, and its fates.

:mod:`router.core.firing` and :mod:`router.core.ending` have the transitions; this module has what both need.
"""

from typing import Any

from router.core import fates
from router.core.alerts import about_of, labels_of
from router.core.conversations import bump, put_member
from router.core.due_times import member_time
from router.core.rows import OF_GROUP, AlertRow, ConversationRow, MemberRow
from router.core.state import State
from router.core.subjects import Subject
from router.decide import Heartbeat, Policy, is_test
from router.decide.heartbeats import first_of
from router.model import Fate, Millis

NO_DESTINATION = "none"
"""The destination in the ledger for a heartbeat, and for a receiver without destinations."""
NEVER_NOTIFIED = "ended before anyone was notified"
"""The reason of a fate: the alert ended before its destination was notified of it."""
DESTINATION_REMOVED = "its destination is gone from the rules"
"""The reason of a fate: the rules no longer name the destination, and nothing is left to send there."""


def heartbeat_of(policy: Policy, alert: AlertRow) -> Heartbeat | None:
    """Return the heartbeat that an alert is; None: it is none."""
    found = policy.match(labels_of(alert), alert.identity, own=about_of(alert) is not None).heartbeats
    return first_of(found, alert.source) if found else None


def _is_test(alert: AlertRow) -> bool:
    """Return whether an alert tests a receiver. One of a sender never does, whatever its labels are."""
    return alert.about is not None and is_test(labels_of(alert))


class MemberTransition:
    """Changes the members of one alert in the conversations of one group, and counts the change there.

    :param deciding: id of a webhook that is decided in pieces; conversations of its group wait for the last piece
    """

    def __init__(
        self, state: State, policy: Policy, subject: Subject, now: Millis, *, deciding: int | None = None
    ) -> None:
        self._state = state
        self._policy = policy
        self._subject = subject
        self._now = now
        self._deciding = deciding
        levels = policy.severity.levels
        self._rank = levels.index(subject.level) if subject.level in levels else len(levels)

    def _put(self, member: MemberRow, **values: Any) -> None:
        put_member(self._state, member._replace(**values), member)

    def _next_generation(self, conversation: ConversationRow, group: int | None) -> int:
        """Start the next generation of a conversation; return it. :param group: see :func:`bump`"""
        return bump(
            self._state, conversation.id, self._rank, group, self._awaited_webhook(conversation)
        ).generation

    def _awaited_webhook(self, conversation: ConversationRow) -> int | None:
        """Return the id of the webhook whose other alerts may concern the conversation; None: there is none."""
        of_group = conversation.kind == OF_GROUP and conversation.group_id == self._subject.group
        return self._deciding if of_group else None

    def _add_fate(
        self, change: int, destination: str, member: MemberRow | None, decision: fates.FateDecision, generation: int,
        tenant: str | None = None,
    ) -> None:  # fmt: skip
        """Add a fate. :param tenant: of a change that was accepted before; None: the alert's is the change's"""
        state, id_, at = self._state, None, None
        if member is not None:
            id_, at = member.id, member_time(member, state.conversations[member.conversation_id])
        fates.add(
            state, change, destination, id_, decision, generation, self._now, self._policy.configuration.id,
            at=at, urgency=self._rank, tenant=self._subject.tenant if tenant is None else tenant,
            is_counted=not _is_test(state.alerts[self._subject.alert]),
        )  # fmt: skip

    def _drop_without_destination(self, change: int) -> None:
        """Record a change that is sent nowhere on purpose: it is a heartbeat, or its receiver has no destinations."""
        heartbeat = heartbeat_of(self._policy, self._state.alerts[self._subject.alert])
        if heartbeat is None:
            decision = Fate.DROPPED, "route", "its receiver has no destinations"
        else:
            decision = Fate.DROPPED, heartbeat.rule, heartbeat.reason
        self._add_fate(change, NO_DESTINATION, None, decision, 0)
