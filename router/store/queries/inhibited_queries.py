"""The alerts that a conversation inhibits at its destination."""

from collections.abc import Iterable

import sqlalchemy as sa

from router.core.rows import FIRING, UNKNOWN
from router.model import MAX_INHIBITED_COUNTED, Millis
from router.store.queries.query import KEYS_PER_STATEMENT, Answers, as_dict
from router.store.schema import conversations, inhibitors, members

# An alert may be a member of several groups at one destination, and counts once. This bounds the read for one conversation.
_MAX_MEMBERS_READ = 10 * MAX_INHIBITED_COUNTED


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
    return {(id_, at): frozenset(map(int, (found.get(id_) or "").split())) for id_, at in several}


def _inhibited(now: Millis) -> sa.ScalarSelect[str]:
    """Return the ids of the alerts that the conversation of the enclosing query inhibits, as text.

    It reads the inhibition keys of the alerts that the message shows as firing, and then the members that these keys mute
    at the destination. Two alerts that match both sides of a rule don't mute each other; such a muted alert has the same
    key as a source itself.
    """
    shown, muted, own = members.alias("shown"), members.alias("muted"), inhibitors.alias("own")
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
    is_source = sa.exists().where(own.c.key == keys.c.key, own.c.alert_id == muted.c.alert_id)
    some = (
        sa.select(muted.c.alert_id)
        .join_from(keys, muted, muted.c.inhibitor == keys.c.key)
        .where(
            muted.c.muted_destination == conversations.c.destination,
            sa.or_(keys.c.two_sided == 0, ~is_source),
        )
        .limit(_MAX_MEMBERS_READ)
        .correlate(conversations)
        .subquery("some")
    )
    counted = sa.select(some.c.alert_id).distinct().limit(MAX_INHIBITED_COUNTED + 1).subquery("counted")
    as_text = sa.func.aggregate_strings(sa.cast(counted.c.alert_id, sa.Text), " ")
    return sa.select(as_text).correlate(conversations).scalar_subquery()
