"""What is still so: what Alertmanager's answers, or silence, do to the alerts that count as firing.

Alertmanager sends no resolve of an alert that was muted, silenced or inhibited after it had fired, or that it forgot
at a restart. https://github.com/prometheus/alertmanager/issues/226
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import MINUTE, OWN_SOURCE, Alert, Millis, Status, Webhook
from router.store.accept import Receipt, accept
from router.store.alert import alert_of
from router.store.place import ABSENT, GROUP, UNTOLD, reconsider
from router.store.schema import alerts, conversations, groups, members
from router.store.steps import counting_since
from router.store.writer import Statement, Transaction, among

GONE = "gone from Alertmanager"
STALE = "no longer repeated"
BACK = "back in Alertmanager"
# A webhook and the answer to a question may overtake one another; and Alertmanager may have been restarted just
# now, and know nothing before Prometheus' next evaluation.
GRACE: Millis = MINUTE

# Alerts in one transaction: webhooks wait as long as it takes.
BATCH = 100

_FIRING = Statement(sa.select(alerts).where(alerts.c.source == p("source"), alerts.c.status == "firing"))
_NOTED = Statement(sa.select(alerts).where(alerts.c.source == p("source"), alerts.c.note != ""))
_MARKED = Statement(
    sa.select(alerts).where(
        alerts.c.status == "firing", sa.or_(alerts.c.withheld.is_not(None), alerts.c.absent_at.is_not(None))
    )
)
_MARK = Statement(
    sa.update(alerts)
    .where(alerts.c.id == p("alert"))
    .values(withheld=p("withheld_"), absent_at=p("absent_at_"))
)
# What Alertmanager left out of a truncated group (max_alerts) may fire all the same; our own alerts nobody repeats.
_UNREPEATED = Statement(
    sa.select(alerts)
    .join(groups, groups.c.id == alerts.c.group_id)
    .where(alerts.c.status == "firing", alerts.c.seen_at <= p("seen_up_to"), groups.c.truncated == 0)
    .where(alerts.c.source != OWN_SOURCE)
)
_OPENINGS = Statement(
    sa.select(alerts.c.source, sa.func.min(members.c.at).label("at"))
    .select_from(conversations)
    .join(members, members.c.conversation_id == conversations.c.id)
    .join(alerts, alerts.c.id == members.c.alert_id)
    .where(
        conversations.c.due_at.is_not(None),
        conversations.c.state == "open",
        members.c.verdict == "hold",
        members.c.at > p("now"),
        among(members.c.told, UNTOLD),
    )
    .group_by(alerts.c.source)
)


@dataclass(frozen=True, slots=True)
class Reported:
    """An alert that Alertmanager has."""

    starts_at: Millis
    withheld: str | None = None
    """Why it tells nobody; None: it does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Alertmanager said that it has of a source's alerts."""

    source: str
    asked_at: Millis
    alerts: Mapping[str, Reported]
    """By fingerprint, all that have not ended."""
    confirm: Millis
    """How long an alert has to be absent before it counts as gone."""


def answered(
    tx: Transaction, answer: Answer, policy: Policy, now: Millis, most: int = BATCH
) -> tuple[Receipt, bool]:
    """Alerts that Alertmanager has no more are ended, those that it would not tell are marked, and those that it
    has again fire anew: it won't send these before its next repeat.

    :param most: so many alerts in this transaction
    :returns: what it came to, and whether there may be more
    """
    gone: list[Any] = []
    wake: set[str] = set()
    left = most
    counting = counting_since(tx)
    for row in tx.all(_FIRING, source=answer.source):
        if left <= 0:
            break
        if row["seen_at"] >= answer.asked_at:
            continue  # heard of since
        reported = answer.alerts.get(row["fingerprint"])
        if reported is not None:
            if (row["withheld"], row["absent_at"]) != (reported.withheld, None):
                wake |= _mark(tx, row, reported.withheld, None, policy, now)
                left -= 1
        elif row["absent_at"] is None:
            if answer.asked_at - row["seen_at"] >= GRACE:
                wake |= _mark(tx, row, ABSENT, answer.asked_at, policy, now)
                left -= 1
        elif answer.asked_at - max(row["absent_at"], counting) >= answer.confirm:
            gone.append(row)
            left -= 1
    back = [
        (row, reported.starts_at)
        for row in tx.all(_NOTED, source=answer.source)
        if (reported := answer.alerts.get(row["fingerprint"])) is not None and reported.withheld is None
    ]
    marked = Receipt((), (), frozenset(wake))
    ended, fired = _end(tx, gone, GONE, policy, now), _fire(tx, back[:most], policy, now)
    return merged(marked, ended, fired), left <= 0 or len(back) > most


def unanswered(tx: Transaction, trusted: frozenset[str], policy: Policy, now: Millis) -> frozenset[str]:
    """What was said of the alerts of other sources than these is too old to count: better told twice than never.

    The destinations that may have something to do.
    """
    marked = [row for row in tx.all(_MARKED) if row["source"] not in trusted]
    return frozenset().union(*(_mark(tx, row, None, None, policy, now) for row in marked))


def expire(tx: Transaction, asked: frozenset[str], policy: Policy, now: Millis) -> dict[str, Receipt]:
    """An alert that was not repeated for ``policy.stale_after`` has ended. What this came to, by source.

    :param asked: sources it doesn't go for
    """
    stale: dict[str, list[Any]] = {}
    if 0 < policy.stale_after <= now - counting_since(tx):
        for row in tx.all(_UNREPEATED, seen_up_to=now - policy.stale_after):
            if row["source"] not in asked:
                stale.setdefault(row["source"], []).append(row)
    return {source: _end(tx, rows, STALE, policy, now) for source, rows in stale.items()}


def openings(tx: Transaction, now: Millis) -> dict[str, Millis]:
    """When the next held alert of each source is to be let out, by source."""
    return {row["source"]: row["at"] for row in tx.all(_OPENINGS, now=now)}


def _mark(
    tx: Transaction, row: Any, withheld: str | None, absent_at: Millis | None, policy: Policy, now: Millis
) -> frozenset[str]:
    """What was told of it stays told; what was not is judged by this."""
    if (row["withheld"], row["absent_at"]) == (withheld, absent_at):
        return frozenset()
    tx.run(_MARK, alert=row["id"], withheld_=withheld, absent_at_=absent_at)
    return frozenset() if row["withheld"] == withheld else reconsider(tx, policy, row["id"], now)


def _end(tx: Transaction, rows: list[Any], note: str, policy: Policy, now: Millis) -> Receipt:
    """It was there until it was missed, or as long as it was repeated."""
    ended = [
        (row, replace(alert_of(row), status=Status.RESOLVED, ends_at=row["absent_at"] or row["seen_at"]))
        for row in rows
    ]
    return _accept(tx, ended, note, policy, now)


def _fire(tx: Transaction, rows: list[tuple[Any, Millis]], policy: Policy, now: Millis) -> Receipt:
    fired = [
        (row, replace(alert_of(row), status=Status.FIRING, starts_at=starts_at, ends_at=None, note=""))
        for row, starts_at in rows
    ]
    return _accept(tx, fired, "", policy, now)


def _accept(
    tx: Transaction, told: list[tuple[Any, Alert]], note: str, policy: Policy, now: Millis
) -> Receipt:
    """As if Alertmanager had sent it; the body that is kept says what was concluded."""
    by_group: dict[tuple[str, int], list[Alert]] = {}
    for row, alert in told:
        by_group.setdefault((row["source"], row["group_id"]), []).append(alert)
    receipts = []
    for (source, group_id), several in by_group.items():
        group = tx.one(GROUP, group=group_id)
        webhook = Webhook(
            group["receiver"], group["group_key"], json.loads(group["labels"]), group["external_url"],
            group["truncated"], tuple(several),
        )  # fmt: skip
        receipts.append(accept(tx, webhook, source, _body(webhook, note or BACK), policy, now, note))
    return merged(*receipts)


def _body(webhook: Webhook, note: str) -> bytes:
    concluded = [
        {"status": each.status, "labels": dict(each.labels), "fingerprint": each.fingerprint}
        for each in webhook.alerts
    ]
    return json.dumps({"note": note, "groupKey": webhook.group_key, "alerts": concluded}).encode()


def merged(*receipts: Receipt) -> Receipt:
    """As if they were one."""
    return Receipt(
        tuple(change for each in receipts for change in each.changes),
        tuple(decision for each in receipts for decision in each.decisions),
        frozenset().union(*(each.wake for each in receipts)),
    )
