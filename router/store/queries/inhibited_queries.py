"""The alerts that a conversation inhibits at its destination."""

from collections.abc import Iterable

import sqlalchemy as sa

from router.core.rows import FIRING, UNKNOWN
from router.model import MAX_INHIBITED_COUNTED, Millis
from router.store.queries.query import KEYS_PER_STATEMENT, Answers, as_dict
from router.store.schema import conversations, inhibitors, members

# An alert may be a member of several groups at one destination, and counts once. This bounds the read for one key.
_MAX_MEMBERS_READ = 3 * MAX_INHIBITED_COUNTED


def inhibited_by(connection: sa.Connection, keys: Iterable[tuple[int, Millis]]) -> Answers:
    """Return the alerts that each conversation inhibits, see :data:`router.core.inhibited_alerts.INHIBITED_BY`."""
    several = sorted(keys)
    ids = sorted({id_ for id_, _ in several})
    # The lanes of a batch ask at nearly the same time.
    now = max((at for _, at in several), default=0)
    found: dict[int, str | None] = {}
    for first in range(0, len(ids), KEYS_PER_STATEMENT):
        wanted = conversations.c.id.in_(ids[first : first + KEYS_PER_STATEMENT])
        found |= as_dict(connection.execute(sa.select(conversations.c.id, _inhibited(now)).where(wanted)))
    return {(id_, at): _first_ids(found.get(id_)) for id_, at in several}


def _first_ids(text: str | None) -> frozenset[int]:
    ids = set(map(int, (text or "").split()))
    return frozenset(sorted(ids)[: MAX_INHIBITED_COUNTED + 1])


def _inhibited(now: Millis) -> sa.ScalarSelect[str]:
    """Return the ids of the alerts that the conversation of the enclosing query inhibits, as text.

    For each inhibition key of the alerts that the message shows as firing, it reads the first entries of an index. The order
    and the limit make the database use that index, however many alerts are inhibited in all.
    """
    shown = members.alias("shown")
    is_shown = sa.and_(
        shown.c.conversation_id == conversations.c.id,
        shown.c.status == FIRING,
        sa.or_(shown.c.notified.in_((FIRING, UNKNOWN)), shown.c.at <= now),
    )
    keys = (
        sa.select(inhibitors.c.key, sa.func.min(inhibitors.c.two_sided).label("two_sided"))
        .join_from(shown, inhibitors, inhibitors.c.alert_id == shown.c.alert_id)
        .where(is_shown)
        .group_by(inhibitors.c.key)
        .correlate(conversations)
        .subquery("keys")
    )
    each = sa.select(sa.func.aggregate_strings(_muted_by(keys), " ")).select_from(keys)
    return each.correlate(conversations).scalar_subquery()


def _muted_by(keys: sa.Subquery) -> sa.ScalarSelect[str]:
    """Return the ids of the alerts that a key mutes at the destination, as text.

    Two alerts that match both sides of a rule don't mute each other. Such a muted alert has the same key as a source itself.
    """
    muted, own = members.alias("muted"), inhibitors.alias("own")
    both_sides = sa.exists().where(own.c.key == keys.c.key, own.c.alert_id == muted.c.alert_id)
    # PostgreSQL may read the whole table for two values that it expects to be frequent. It does not for a value and a range,
    # in the order of the index.
    at_destination = muted.c.muted_destination.between(
        conversations.c.destination, conversations.c.destination
    )
    some = (
        sa.select(muted.c.alert_id)
        .where(
            muted.c.inhibitor == keys.c.key, at_destination,
            sa.or_(keys.c.two_sided == 0, ~both_sides.correlate(keys, muted)),
        )
        .order_by(muted.c.inhibitor, muted.c.muted_destination, muted.c.alert_id)
        .limit(_MAX_MEMBERS_READ)
        .correlate(conversations, keys)
        .subquery("some")
    )  # fmt: skip
    as_text = sa.func.aggregate_strings(sa.cast(some.c.alert_id, sa.Text), " ")
    return sa.select(as_text).correlate(conversations, keys).scalar_subquery()
