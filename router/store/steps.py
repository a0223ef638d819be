"""Since when time has simply passed. What ends by the passing of time counts from there at the earliest: a step of
the clock, or a time in which the router heard nothing, ends nothing.
"""

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import MINUTE, SECOND, Millis
from router.reduce import PEER_LAG
from router.store.digests import open_slots
from router.store.place import FAILOVER, reconsider
from router.store.schema import alerts, conversations, deliveries, members, meta
from router.store.writer import Statement, Transaction, among, insert

# How often a running router notes that it runs, and how long it may have been down before that counts.
BEAT: Millis = MINUTE
_DOWN: Millis = 2 * BEAT

_ALIVE, _SINCE = "alive_at", "counting_since"
_GET = Statement(sa.select(meta.c.value).where(meta.c.key == p("key")))
_DROP = Statement(sa.delete(meta).where(meta.c.key == p("key")))
_ADD = Statement(insert(meta, omit=()))
_FIRING = Statement(sa.select(alerts.c.id).where(alerts.c.status == "firing"))
_TELL_NOW = Statement(
    sa.update(members)
    .where(
        members.c.at > p("now"),
        # What no rule decides: news of what was told, and what is told instead of a destination that failed.
        sa.or_(among(members.c.told, ("firing", "maybe")), members.c.rule.startswith(FAILOVER)),
    )
    .values(at=p("now"))
)
_TRY_NOW = Statement(
    sa.update(conversations)
    .where(conversations.c.state == "open", conversations.c.not_before > p("now"))
    .values(not_before=0)
)
_DUE_ANEW = Statement(
    sa.update(conversations)
    .where(conversations.c.slot.is_(None), conversations.c.due_at > p("now"))
    .values(
        due_at=sa.select(sa.func.min(members.c.at))
        .where(members.c.conversation_id == conversations.c.id)
        .scalar_subquery()
    )
)
_SINCE_NOW = Statement(
    sa.update(conversations)
    .where(conversations.c.slot.is_not(None), conversations.c.state == "open", conversations.c.since > p("now"))
    .values(since=p("now"))
)  # fmt: skip
_TRIED_NOW = Statement(
    sa.update(deliveries)
    .where(
        deliveries.c.started_at > p("now"),
        deliveries.c.conversation_id.in_(
            sa.select(conversations.c.id).where(conversations.c.due_at.is_not(None))
        ),
    )
    .values(started_at=p("now"))
)
# What is noted of an alert in the time before counts from now.
_NOTED_NOW = tuple(
    Statement(sa.update(alerts).where(column > p("now")).values({column.name: p("now")}))
    for column in (alerts.c.seen_at, alerts.c.changed_at, alerts.c.absent_at, alerts.c.claimed_firing_at)
)
# The time in which another end may contradict a doubt begins again, and so does that after an end of just before.
_DOUBT_AGAIN = Statement(
    sa.update(alerts).where(alerts.c.doubt_until.is_not(None)).values(doubt_until=p("until"))
)
_ENDED_NOW = Statement(
    sa.update(alerts)
    .where(alerts.c.status == "resolved", alerts.c.changed_at > p("lately"))
    .values(changed_at=p("now"))
)


def counting_since(tx: Transaction) -> Millis:
    """Since when time has simply passed."""
    row = tx.one(_GET, key=_SINCE)
    return 0 if row is None else int(row["value"])


def begin(tx: Transaction, policy: Policy, now: Millis) -> Millis:
    """The router starts. Since when time has simply passed: it was not down for long, and the clock was not stepped
    back meanwhile.
    """
    alive = tx.one(_GET, key=_ALIVE)
    down = None if alive is None else now - int(alive["value"])
    if down is None or not -SECOND <= down <= _DOWN:
        return step(tx, policy, now, back=down is not None and down < 0)
    beat(tx, now)
    return counting_since(tx)


def beat(tx: Transaction, now: Millis) -> None:
    """The router runs."""
    _put(tx, _ALIVE, now)


def step(tx: Transaction, policy: Policy, now: Millis, *, back: bool) -> Millis:
    """The clock was stepped, or nothing could be heard for a while: time passes from now on.

    :param back: what waits for a moment of the old time would wait for as long as the step
    """
    alive = tx.one(_GET, key=_ALIVE)
    _put(tx, _SINCE, now)
    beat(tx, now)
    tx.run(_DOUBT_AGAIN, until=now + PEER_LAG)
    if back:
        _turn_back(tx, policy, now)
    elif alive is not None:
        tx.run(_ENDED_NOW, lately=int(alive["value"]) - PEER_LAG, now=now)
    return now


def _turn_back(tx: Transaction, policy: Policy, now: Millis) -> None:
    for statement in (_TELL_NOW, _TRY_NOW, _SINCE_NOW, _TRIED_NOW, *_NOTED_NOW):
        tx.run(statement, now=now)
    open_slots(tx, policy, now)
    for alert in tx.all(_FIRING):
        reconsider(tx, policy, alert["id"], now)
    tx.run(_DUE_ANEW, now=now)


def _put(tx: Transaction, key: str, value: Millis) -> None:
    tx.run(_DROP, key=key)
    tx.run(_ADD, key=key, value=str(value))
