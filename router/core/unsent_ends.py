"""Ends at destinations with ``send_resolved: false``: no message is sent for an end alone.

The meaning is Alertmanager's: https://prometheus.io/docs/alerting/latest/configuration/ (``send_resolved``). The member
then counts as notified of the end, so the next firing is news, and a conversation in which everything has ended closes
without a delivery. A message that is sent because another alert of the group fires still shows what has ended.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from router.core import fates
from router.core.conversations import put_member
from router.core.rows import FIRING, NOT_FIRING, RESOLVED, ConversationRow, MemberRow
from router.core.state import State
from router.decide import Policy
from router.model import Change, Fate, Millis

NOT_SENT = "send_resolved is false"
UNCONFIRMED = "ended before a notification was confirmed"

Result = tuple[Fate, str]
"""A fate, and the reason for it."""


def sends_ends(state: State, policy: Policy, destination: str) -> bool:
    """Return whether a destination gets a message when alerts end.

    A destination that the rules no longer name keeps the options that it had; they are in its row, see
    :func:`router.channels.destination_as_json`.

    :raises MissingRows: the row of the destination is not loaded yet
    """
    if (named := policy.destinations.get(destination)) is not None:
        return named.send_resolved
    row = state.destinations.get(destination)
    if row is None:
        return True
    options: dict[str, Any] = json.loads(row.options).get("options", {})
    return bool(options.get("send_resolved", True))


def has_lane(state: State, policy: Policy, destination: str) -> bool:
    """Return whether something can be sent to a destination: the rules name it, or the store keeps it because ends are
    still to be sent to it.

    :raises MissingRows: the row of the destination is not loaded yet
    """
    return policy.has_destination(destination) or state.destinations.get(destination) is not None


def is_unsent_end(member: MemberRow) -> bool:
    """Return whether the alert has ended, and the destination was, or may have been, notified of its firing only."""
    return member.status != FIRING and member.notified not in NOT_FIRING


def settle_ends(
    state: State, members: Iterable[MemberRow], now: Millis, firing: Result = (Fate.OBSOLETE, UNCONFIRMED)
) -> None:
    """Settle ends for which no message is sent: the members count as notified of the end, and are not due.

    :param firing: the new fate of open changes that report a firing; those that report an end become ``dropped``
    """
    ended = list(members)
    settle_fates(state, [each.id for each in ended], now, firing)
    for member in ended:
        after = member._replace(status=RESOLVED, notified=RESOLVED, at=None, inhibitor=None, held_since=None)
        put_member(state, after, member)


def settle_fates(state: State, members: Sequence[int], now: Millis, firing: Result) -> None:
    """Close the open fates of members that have ended. See :func:`settle_ends`."""
    state.fates.want("open of member", members)
    state.ready()
    still_open = [fate for each in members for fate in state.fates.of("open of member", each)]
    state.changes.want("id", (fate.change_id for fate in still_open))
    state.ready()
    for row in still_open:
        is_end = state.changes[row.change_id].kind == Change.RESOLVED
        fate, reason = (Fate.DROPPED, NOT_SENT) if is_end else firing
        fates.finish_one(state, row, fate, reason, now)


def settle_due_ends(
    state: State, row: ConversationRow, members: Iterable[MemberRow], policy: Policy, now: Millis
) -> None:
    """Settle the ends among these members that are due, if the destination gets no message for them.

    An end is due at such a destination after a restart during an attempt, or after a reload that set ``send_resolved`` to false.
    """
    due = [each for each in members if each.is_due(now) and is_unsent_end(each)]
    if due and not sends_ends(state, policy, row.destination):
        settle_ends(state, due, now)
