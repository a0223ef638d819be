"""Reads a large conversation on a reader's connection, and builds what it says."""

from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from router.core.claim import is_news, work_about
from router.core.claimed_delivery import ClaimedDelivery
from router.core.inhibited_alerts import INHIBITED_BY
from router.core.large_conversations import LargeClaim
from router.core.rows import AlertRow, ConversationRow, GroupRow, MemberRow
from router.decide import Policy
from router.model import Millis
from router.store import schema
from router.store.queries import QUERIES

Known = list[tuple[MemberRow, AlertRow]]
"""Each member with its alert."""

_CONVERSATION_COLUMNS = [schema.conversations.c[name] for name in ConversationRow._fields]
_GROUP_COLUMNS = [schema.groups.c[name] for name in GroupRow._fields]
_MEMBER_COLUMNS = [schema.members.c[name] for name in MemberRow._fields]
_ALERT_COLUMNS = [schema.alerts.c[name] for name in AlertRow._fields]


def load_members(connection: sa.Connection, id_: int) -> Known:
    """Return all members of a conversation, with their alerts."""
    rows = connection.execute(
        sa.select(*_MEMBER_COLUMNS, *(column.label(f"alert_{column.name}") for column in _ALERT_COLUMNS))
        .join_from(schema.members, schema.alerts, schema.alerts.c.id == schema.members.c.alert_id)
        .where(schema.members.c.conversation_id == id_)
    )
    split = len(_MEMBER_COLUMNS)
    return [(MemberRow(*row[:split]), AlertRow(*row[split:])) for row in rows]


def load_content(connection: sa.Connection, id_: int, policy: Policy, now: Millis) -> tuple[Known, int]:
    """Return all members of a claimed conversation with their alerts, and how many alerts it inhibits (see
    :attr:`router.model.Conversation.inhibited`).
    """
    key = id_, now
    inhibited = QUERIES[INHIBITED_BY](connection, (key,))[key] if policy.inhibition.rules else ()
    return load_members(connection, id_), len(inhibited)


def expected_work(connection: sa.Connection, id_: int, policy: Policy, now: Millis) -> ClaimedDelivery | None:
    """Return the work of a conversation that is due, as it would be claimed now; None: it has no news."""
    found = connection.execute(
        sa.select(
            *_CONVERSATION_COLUMNS, *(column.label(f"group_{column.name}") for column in _GROUP_COLUMNS)
        )
        .join_from(schema.conversations, schema.groups, schema.groups.c.id == schema.conversations.c.group_id)
        .where(schema.conversations.c.id == id_)
    ).one_or_none()
    if found is None:
        return None
    known, split = load_members(connection, id_), len(_CONVERSATION_COLUMNS)
    before = {member.id: member.notified for member, _ in known if is_news(member, now)}
    return (
        work_about(ConversationRow(*found[:split]), GroupRow(*found[split:]), known, before, policy, now)
        if before
        else None
    )


def build_work(
    begun: LargeClaim, known: Known, before: Mapping[int, str], policy: Policy, now: Millis, inhibited: int
) -> ClaimedDelivery:
    """Build the work of a claimed conversation.

    :param known: all members with their alerts
    :param before: the status that the destination was notified of before, by the id of each marked member
    :param inhibited: how many alerts it inhibits
    """
    # Changes since the members were marked are included. That is safe, because nothing else is sent to the destination
    # meanwhile.
    made = work_about(begun.row, begun.group, known, before, policy, now)
    conversation = replace(made.conversation, inhibited=inhibited)
    return replace(made, delivery=begun.work.delivery, conversation=conversation)
