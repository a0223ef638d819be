"""Which rows are pruned: one rule for each kind of row, in the order in which they are applied."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.core.rows import OPEN_FATES
from router.model import DAY, Fate
from router.store.labels import entries
from router.store.retention import IDS, PruneRule, SumUpdate, bind_ids
from router.store.schema import (
    actions,
    alert_labels,
    alerts,
    changes,
    configurations,
    conversations,
    day_sums,
    dead_letters,
    deliveries,
    delivery_sums,
    fate_sums,
    fates,
    former_fates,
    groups,
    loads,
    members,
    messages,
    metadata,
    webhooks,
)  # fmt: skip


def _unreferenced(table: sa.Table, *but: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition that no row of any table refers to a row. References of the tables ``but`` do not count."""
    keys = [
        key.parent
        for other in metadata.tables.values()
        if other not in but
        for key in other.foreign_keys
        if key.column.table is table
    ]
    return sa.and_(sa.true(), *(~sa.exists().where(key == table.c.id) for key in keys))


def _day(at: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    # A literal, not a parameter: PostgreSQL requires the selected expression to equal the one in GROUP BY.
    return (at - at % sa.literal_column(str(DAY))).label("day")


_count = sa.func.count().label("count")
_later = changes.alias("later")
_is_last = ~sa.exists().where(
    _later.c.alert_id == changes.c.alert_id, _later.c.at >= changes.c.at, _later.c.id > changes.c.id
)
_alert_fires = sa.exists().where(alerts.c.id == changes.c.alert_id, alerts.c.status == "firing")
_keeps_its_change = sa.exists().where(
    fates.c.change_id == changes.c.id,
    sa.or_(
        fates.c.fate.in_((*OPEN_FATES, "dead")),
        fates.c.updated_at >= p("before"),
        ~_unreferenced(fates, former_fates),
    ),
)
PRUNE_CHANGES = PruneRule(
    changes,
    # New rules are applied to the last change of each firing alert, so it is kept.
    sa.and_(
        changes.c.at < p("before"), ~_keeps_its_change, ~sa.and_(_is_last, _alert_fires),
        _unreferenced(changes, fates),
    ),
    sums=(
        SumUpdate(
            fate_sums,
            sa.select(
                _day(changes.c.at), fates.c.destination, changes.c.kind, fates.c.fate, fates.c.tenant, _count
            )
            .join(changes, changes.c.id == fates.c.change_id)
            .where(changes.c.id.in_(IDS))
            .group_by(_day(changes.c.at), fates.c.destination, changes.c.kind, fates.c.fate, fates.c.tenant),
        ),
        SumUpdate(
            day_sums,
            sa.select(_day(changes.c.at), sa.literal("due and delivered").label("what"), fates.c.tenant, _count)
            .join(changes, changes.c.id == fates.c.change_id)
            .where(changes.c.id.in_(IDS), fates.c.fate == Fate.DELIVERED, fates.c.due_at > 0)
            .group_by(_day(changes.c.at), fates.c.tenant),
        ),
        SumUpdate(
            day_sums,
            sa.select(_day(changes.c.at), changes.c.kind.label("what"), changes.c.tenant, _count)
            .where(changes.c.id.in_(IDS))
            .group_by(_day(changes.c.at), changes.c.kind, changes.c.tenant),
        ),
        SumUpdate(
            day_sums,
            sa.select(
                _day(changes.c.at),
                sa.literal("destinations").label("what"),
                changes.c.tenant,
                sa.func.sum(changes.c.destinations).label("count"),
            )
            .where(changes.c.id.in_(IDS))
            .group_by(_day(changes.c.at), changes.c.tenant),
        ),
    ),
    weight=changes.c.destinations + 1,
    actions=(
        sa.delete(former_fates).where(
            former_fates.c.fate_id.in_(sa.select(fates.c.id).where(fates.c.change_id.in_(IDS)))
        ),
        sa.delete(fates).where(fates.c.change_id.in_(IDS)),
        sa.delete(changes).where(changes.c.id.in_(IDS)),
    ),
)  # fmt: skip

_with_dead_letters = (
    sa.select(members.c.conversation_id)
    .join(fates, fates.c.member_id == members.c.id)
    .where(fates.c.fate == "dead")
)
_under_way = sa.select(deliveries.c.conversation_id).where(deliveries.c.outcome.is_(None))


def _conversation_is(*conditions: sa.ColumnElement[bool], of: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition that the conversation of a row fulfils these conditions, has no dead fate and no delivery under
    way.
    """
    return sa.and_(
        sa.exists().where(conversations.c.id == of.c.conversation_id, *conditions),
        of.c.conversation_id.not_in(_with_dead_letters),
        of.c.conversation_id.not_in(_under_way),
    )


_MEMBERS = PruneRule(
    members,
    sa.and_(
        # A member whose alert ended before the destination was notified is not needed, even if its conversation is
        # open.
        _conversation_is(
            sa.or_(
                sa.and_(conversations.c.state == "closed", conversations.c.created_at < p("before")),
                sa.and_(
                    conversations.c.slot.is_(None),
                    members.c.status == "resolved",
                    members.c.notified == "nothing",
                ),
            ),
            of=members,
        ),
        _unreferenced(members),
    ),
)
_has_no_members = ~sa.exists().where(members.c.conversation_id == conversations.c.id)
_DELIVERIES = PruneRule(
    deliveries,
    sa.and_(
        deliveries.c.started_at < p("before"),
        _conversation_is(
            sa.or_(
                conversations.c.state == "closed", sa.and_(conversations.c.slot.is_(None), _has_no_members)
            ),
            of=deliveries,
        ),
        _unreferenced(deliveries, messages),
    ),
    sums=(
        SumUpdate(
            delivery_sums,
            sa.select(_day(deliveries.c.started_at), deliveries.c.destination, deliveries.c.outcome, _count)
            .where(deliveries.c.id.in_(IDS))
            .group_by(_day(deliveries.c.started_at), deliveries.c.destination, deliveries.c.outcome),
        ),
    ),
    actions=(
        sa.delete(messages).where(messages.c.id.in_(IDS)),
        sa.delete(deliveries).where(deliveries.c.id.in_(IDS)),
    ),
)
_MESSAGES = PruneRule(
    messages,
    sa.exists().where(deliveries.c.id == messages.c.id, deliveries.c.started_at < p("messages_before")),
)
_newer = conversations.alias("newer")
_CONVERSATIONS = PruneRule(
    conversations,
    # The last conversation about a subject is kept, so that its ``episode`` is never used again: dedup keys and Message-IDs
    # contain it. A slot of a digest has only one conversation.
    sa.and_(
        conversations.c.state == "closed", conversations.c.created_at < p("before"),
        sa.or_(
            conversations.c.slot < p("before"),
            sa.exists().where(
                _newer.c.token == conversations.c.token, _newer.c.episode > conversations.c.episode
            ),
        ),
        _unreferenced(conversations),
    ),
)  # fmt: skip


def _unindex(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Delete the entries of alerts from the label index. They are found by hashing the labels again."""
    labels = connection.execute(
        sa.select(alerts.c.id, alerts.c.labels).where(alerts.c.id.in_(IDS)), bind_ids(ids)
    )
    found = [{"label": label, "alert": alert} for label, alert in entries(map(tuple, labels))]
    if found:
        connection.execute(
            sa.delete(alert_labels).where(
                alert_labels.c.label == p("label"), alert_labels.c.alert_id == p("alert")
            ),
            found,
        )


_ALERTS = PruneRule(
    alerts,
    sa.and_(alerts.c.status == "resolved", alerts.c.seen_at < p("before"), _unreferenced(alerts)),
    before=_unindex,
)
_newer_rules = configurations.alias("newer_rules")
_CONFIGURATIONS = PruneRule(
    configurations,
    # Another configuration has been in force for so long that no decision of this one is kept.
    sa.exists().where(_newer_rules.c.at > configurations.c.at, _newer_rules.c.at < p("before")),
)
_next_load = loads.alias("next_load")
_LOADS = PruneRule(
    loads,
    # The files in force are kept, and those by which a kept decision was made; and the newest load, because the next one
    # gets its id plus one.
    sa.and_(
        loads.c.at < p("before"),
        sa.or_(
            sa.and_(loads.c.error != "", sa.exists().where(_next_load.c.id > loads.c.id)),
            sa.exists().where(
                _next_load.c.id > loads.c.id, _next_load.c.error == "", _next_load.c.at < p("before")
            ),
        ),
    ),
)
_GROUPS = PruneRule(groups, _unreferenced(groups))
# Deleting a large body takes about as long as deleting this many bytes in separate rows.
_BYTES_PER_ROW = 32 * 1024
_EMPTY_BODIES = sa.update(webhooks).where(webhooks.c.id.in_(IDS)).values(body=b"")
_weight_of_body = 1 + sa.func.length(webhooks.c.body) // _BYTES_PER_ROW
_BODIES = PruneRule(
    webhooks,
    sa.and_(
        webhooks.c.received_at < p("bodies_before"),
        webhooks.c.quarantined.is_(None),
        webhooks.c.undecided.is_(None),
        webhooks.c.body != b"",
    ),
    actions=(_EMPTY_BODIES,),
    weight=_weight_of_body,
)
_what = sa.case((webhooks.c.quarantined.is_(None), "accepted"), else_="quarantined").label("what")
_WEBHOOK_SUMS = SumUpdate(
    day_sums,
    sa.select(_day(webhooks.c.received_at), _what, sa.literal("").label("tenant"), _count)
    .where(webhooks.c.id.in_(IDS))
    .group_by(_day(webhooks.c.received_at), _what),
)
_WEBHOOKS = PruneRule(
    webhooks,
    sa.and_(
        webhooks.c.received_at < p("before"),
        sa.or_(webhooks.c.quarantined.is_not(None), webhooks.c.body == b""),
        _unreferenced(webhooks),
    ),
    sums=(_WEBHOOK_SUMS,),
    weight=_weight_of_body,
)

_is_surplus = sa.and_(webhooks.c.quarantined.is_not(None), webhooks.c.id <= p("quarantined_until"))
SURPLUS_RULES = (
    PruneRule(
        webhooks, sa.and_(_is_surplus, _unreferenced(webhooks)), sums=(_WEBHOOK_SUMS,), weight=_weight_of_body
    ),
    # Some of its alerts were decided before the rest failed, so the ledger needs the row.
    PruneRule(
        webhooks, sa.and_(_is_surplus, ~_unreferenced(webhooks), webhooks.c.body != b""), actions=(_EMPTY_BODIES,),
        weight=_weight_of_body,
    ),
)  # fmt: skip
"""The quarantined bodies that are beyond the limits of the quarantine."""

_DEAD_LETTERS = PruneRule(
    dead_letters, sa.and_(dead_letters.c.state != "dead", dead_letters.c.settled_at < p("before"))
)


def _old_but_the_newest(table: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition that a line of a log is old. The newest line stays, because the next one gets its id plus one."""
    newer = table.alias(f"newer_{table.name}")
    return sa.and_(table.c.at < p("before"), sa.exists().where(newer.c.id > table.c.id))


_ACTIONS = PruneRule(actions, _old_but_the_newest(actions))

# A row is deleted before the rows that it refers to.
PRUNE_RULES = (
    _BODIES, _MESSAGES, _DEAD_LETTERS, PRUNE_CHANGES, _MEMBERS, _DELIVERIES, _CONVERSATIONS, _ALERTS, _GROUPS, _WEBHOOKS,
    _CONFIGURATIONS, _ACTIONS, _LOADS,
)  # fmt: skip
