"""The accepting transaction: a webhook becomes changes, decisions and their fates, all or nothing."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Alert, Change, Decision, Millis, Status, Verdict, Webhook
from router.reduce import PEER_LAG, Doubt, reduce
from router.store.alert import about_of, doubt_of, known_of, labels_of, written_about, written_doubt
from router.store.conversation import DUE, close_if_empty
from router.store.place import Placing, Subject, judge, reconsider
from router.store.schema import alerts, changes, conversations, groups, inhibitors, members, webhooks
from router.store.writer import Statement, Transaction, among, insert

_ADD_WEBHOOK = Statement(insert(webhooks, omit=("id", "content_encoding")))
_ADD_GROUP = Statement(insert(groups))
_FIND_GROUP = Statement(
    sa.select(groups).where(
        groups.c.source == p("source"),
        groups.c.receiver == p("receiver"),
        groups.c.group_key == p("group_key"),
    )
)
_UPDATE_GROUP = Statement(
    sa.update(groups)
    .where(groups.c.id == p("group"))
    .values(labels=p("labels_"), external_url=p("external_url_"), truncated=p("truncated_"))
)
_FIND_ALERT = Statement(
    sa.select(alerts).where(alerts.c.source == p("source"), alerts.c.identity == p("identity"))
)
_ADD_ALERT = Statement(insert(alerts))
_UPDATE_ALERT = Statement(
    sa.update(alerts)
    .where(alerts.c.id == p("alert"))
    .values({c.name: p(f"{c.name}_") for c in alerts.c if c.name not in {"id", "source", "identity"}})
)
_ADD_CHANGE = Statement(insert(changes))
_SET_DESTINATIONS = Statement(
    sa.update(changes).where(changes.c.id == p("change")).values(destinations=p("destinations_"))
)
_ADD_INHIBITOR = Statement(insert(inhibitors, omit=()))
_INHIBITORS_OF = Statement(sa.select(inhibitors.c.key).where(inhibitors.c.alert_id == p("alert")))
_DROP_INHIBITORS = Statement(sa.delete(inhibitors).where(inhibitors.c.alert_id == p("alert")))
_INHIBITED_BY = Statement(sa.select(members.c.alert_id).where(members.c.inhibitor == p("key")).distinct())


# Told of every end it knows of, and open all the same: Alertmanager hid alerts of the group (max_alerts).
_members_of = members.alias("members_of")
_ENDED_BUT_OPEN = Statement(
    sa.select(conversations.c.id, conversations.c.destination).where(
        conversations.c.group_id == p("group"),
        conversations.c.state == "open",
        conversations.c.due_at.is_(None),
        sa.exists().where(
            _members_of.c.conversation_id == conversations.c.id, _members_of.c.told == "resolved"
        ),
        ~sa.exists().where(
            members.c.conversation_id == conversations.c.id,
            sa.or_(members.c.status == "firing", among(members.c.told, ("firing", "maybe"))),
        ),
    )
)
_TELL_THE_END_AGAIN = Statement(
    sa.update(members)
    .where(members.c.conversation_id == p("conversation"), members.c.told == "resolved")
    .values(told="maybe", at=p("now"))
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was committed of a webhook."""

    changes: tuple[tuple[Change, str, bool], ...] = ()
    """(kind, level, whether the alert's severity label named a known level)"""
    decisions: tuple[tuple[str, Verdict], ...] = ()
    """(destination key, verdict)"""
    wake: frozenset[str] = frozenset()
    """The destinations that may have something to do."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    subject: Subject
    alert: Alert
    kind: Change
    echo: bool
    """The other peer of an HA pair tells what has just been told."""
    doubt: bool
    """It is reported as firing, and counts as ended for now."""


def accept(
    tx: Transaction,
    webhook: Webhook,
    source: str,
    body: bytes,
    policy: Policy,
    now: Millis,
    note: str = "",
    *,
    certain: bool = False,
) -> Receipt:
    """Two passes: first what fires now is known to the inhibit rules, then each alert is judged by it.

    :param note: nobody sent this webhook: its alerts count as ended, and this is why
    :param certain: see :func:`router.reduce.reduce`
    """
    webhook_id = tx.add(_ADD_WEBHOOK, source=source, received_at=now, body=body, quarantined=None)
    group = _group(tx, webhook, source)
    freed: set[str] = set()
    peer = "" if note else f"{webhook.external_url} {webhook.sender}"
    accepting = _Accepting(tx, source, webhook, group, policy, freed, now, note, peer, certain)
    accepted = [_reduce(accepting, alert) for alert in webhook.alerts]
    decisions: list[tuple[str, Verdict]] = []
    wake: set[str] = set()
    ended_in: set[int] = set()
    for each in accepted:
        judged = judge(tx, policy, each.alert.labels, each.alert.about, now)
        firing = each.alert.status is Status.FIRING
        change = tx.add(
            _ADD_CHANGE, webhook_id=webhook_id, alert_id=each.subject.alert, kind=each.kind, level=each.subject.level,
            at=now, destinations=max(1, len(judged)) if firing else 0,
        )  # fmt: skip
        placing = Placing(tx, policy, each.subject, now, note, doubt=each.doubt)
        if firing:
            placing.firing(_told_once(judged) if each.echo else judged, change)
            decisions += ((decision.destination.key, decision.verdict) for decision in judged)
            wake.update(decision.destination.key for decision in judged)
        else:
            told = placing.resolved(judged, change)
            ended_in |= placing.ended_in
            tx.run(_SET_DESTINATIONS, change=change, destinations_=len(told))
            wake |= told
    wake |= release(tx, policy, freed, now)
    if webhook.truncated == 0:
        wake |= complete(tx, group, now)
    for conversation in sorted(ended_in):
        close_if_empty(tx, conversation)
    kinds = tuple((each.kind, *policy.severity.of(each.alert.labels)) for each in accepted)
    return Receipt(kinds, tuple(decisions), frozenset(wake))


def complete(tx: Transaction, group: int, now: Millis) -> set[str]:
    """Alertmanager shows the whole group (again): a conversation kept open by hidden alerts only is over, and
    is told so.
    """
    woken: set[str] = set()
    for conversation in tx.all(_ENDED_BUT_OPEN, group=group):
        tx.run(_TELL_THE_END_AGAIN, conversation=conversation["id"], now=now)
        tx.run(DUE, conversation=conversation["id"])
        woken.add(conversation["destination"])
    return woken


def release(tx: Transaction, policy: Policy, keys: Iterable[str], now: Millis) -> frozenset[str]:
    """Judge anew whatever these inhibition keys muted. Alertmanager won't send it again for hours."""
    muted = {row["alert_id"] for key in sorted(keys) for row in tx.all(_INHIBITED_BY, key=key)}
    return frozenset().union(*(reconsider(tx, policy, alert, now) for alert in sorted(muted)))


def index_inhibitor(tx: Transaction, policy: Policy, alert: Any) -> None:
    """What the router says of itself mutes nobody's alerts: no rule was written with it in mind.

    :param alert: a row of ``alerts``
    """
    if about_of(alert) is not None:
        return
    for key in policy.inhibition.as_source(labels_of(alert)):
        tx.run(_ADD_INHIBITOR, key=key.text, alert_id=alert["id"], two_sided=int(key.two_sided))


def _group(tx: Transaction, webhook: Webhook, source: str) -> int:
    identity = {"source": source, "receiver": webhook.receiver, "group_key": webhook.group_key}
    labels = json.dumps(dict(webhook.group_labels))
    row = tx.one(_FIND_GROUP, **identity)
    if row is None:
        return tx.add(
            _ADD_GROUP,
            **identity,
            labels=labels,
            external_url=webhook.external_url,
            truncated=webhook.truncated,
        )
    if (row["labels"], row["external_url"], row["truncated"]) != (
        labels,
        webhook.external_url,
        webhook.truncated,
    ):
        tx.run(
            _UPDATE_GROUP,
            group=row["id"],
            labels_=labels,
            external_url_=webhook.external_url,
            truncated_=webhook.truncated,
        )
    group_id: int = row["id"]
    return group_id


@dataclass(frozen=True, slots=True)
class _Accepting:
    tx: Transaction
    source: str
    webhook: Webhook
    group: int
    policy: Policy
    freed: set[str]
    """Collects the inhibition keys that an ended alert gave up."""
    now: Millis
    note: str
    peer: str
    certain: bool


def _told_once(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    return tuple(replace(decision, repeat=None) for decision in decisions)


def _reduce(accepting: _Accepting, told: Alert) -> _Accepted:
    tx, source, webhook = accepting.tx, accepting.source, accepting.webhook
    policy, now, note, peer = accepting.policy, accepting.now, accepting.note, accepting.peer
    identity = told.identity
    row = tx.one(_FIND_ALERT, source=source, identity=identity)
    before = None if row is None else known_of(row)
    kind, known = reduce(before, told, peer, now, certain=accepting.certain)
    echo = row is not None and row["peer"] != peer and now - row["seen_at"] < PEER_LAG
    alert = known.alert
    level, _ = policy.severity.of(alert.labels)
    values = {
        "group_id": accepting.group, "labels": json.dumps(dict(alert.labels)), "annotations": json.dumps(dict(alert.annotations)),
        "links": json.dumps(dict(alert.links)), "generator_url": alert.generator_url, "status": alert.status,
        "level": level, "starts_at": alert.starts_at, "ends_at": alert.ends_at, "peer": known.peer,
        "changed_at": known.changed_at, "seen_at": now if row is None or not note else row["seen_at"],
        "note": note, "withheld": None, "absent_at": None, "fingerprint": told.fingerprint,
        "latest_start": known.latest_start, "about": written_about(alert), **_doubt(known.doubt, row, accepting.group),
        "listed_by": "" if row is None or kind is Change.FIRED else row["listed_by"],
        "fires_until": alert.fires_until if alert.status is Status.FIRING else None,
        "claimed_firing_at": _contradicted_since(row, told, alert, now),
    }  # fmt: skip
    if row is None:
        alert_id = tx.add(_ADD_ALERT, source=source, identity=identity, **values)
    else:
        alert_id = row["id"]
        tx.run(_UPDATE_ALERT, alert=alert_id, **{f"{name}_": value for name, value in values.items()})
    if kind is Change.FIRED:
        if row is not None:
            tx.run(_DROP_INHIBITORS, alert=alert_id)
        index_inhibitor(tx, policy, {"id": alert_id, **values})
    elif kind is Change.RESOLVED and row is not None:
        accepting.freed.update(each["key"] for each in tx.all(_INHIBITORS_OF, alert=alert_id))
        tx.run(_DROP_INHIBITORS, alert=alert_id)
    subject = Subject(
        alert_id, source, identity, level, accepting.group, webhook.receiver, webhook.group_key
    )  # fmt: skip
    return _Accepted(subject, alert, kind, echo, known.doubt is not None)


def _doubt(doubt: Doubt | None, row: Any, group: int) -> dict[str, Any]:
    """The columns of a doubt. Every group that reports the firing is to be told of it, if it lasts."""
    if doubt is None:
        return {"doubt_until": None, "doubt": None}
    before = None if row is None else doubt_of(row)
    groups = [] if before is None else before[1]
    if group not in groups:
        groups = [*groups, group]
    return {"doubt_until": doubt.until, "doubt": written_doubt(doubt, groups)}


def _contradicted_since(row: Any, told: Alert, known: Alert, now: Millis) -> Millis | None:
    """Since when a sender says that it fires, though it counts as ended."""
    if told.status is not Status.FIRING or known.status is Status.FIRING:
        return None
    return now if row is None or row["claimed_firing_at"] is None else row["claimed_firing_at"]
