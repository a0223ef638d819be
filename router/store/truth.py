"""What is still so: what Alertmanager's answers, or silence, do to the alerts that count as firing or as ended.

Alertmanager sends no resolve of an alert that was muted, silenced or inhibited after it had fired, or that it forgot
at a restart. https://github.com/prometheus/alertmanager/issues/226
A peer that is cut off from Prometheus resolves what still fires, and the others need not send it again for hours.

Each function takes some alerts in one transaction, in the order of their ids, and says where to go on.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import MINUTE, SECOND, Alert, Millis, Status, Webhook
from router.reduce import PEER_LAG
from router.store.accept import Receipt, accept
from router.store.alert import alert_of, doubt_of
from router.store.place import ABSENT, GROUP, UNTOLD, reconsider
from router.store.schema import alerts, conversations, groups, members
from router.store.steps import counting_since
from router.store.writer import Statement, Transaction, among

GONE = "gone from Alertmanager"
STALE = "no longer repeated"
LAPSED = "its endsAt has passed"
BACK = "firing in Alertmanager"
LASTING = "no other end was reported"
# A webhook and the answer to a question may overtake one another; and Alertmanager may have been restarted just
# now, and know nothing before Prometheus' next evaluation.
GRACE: Millis = MINUTE
# How exact a peer's clock is known: the Date of its answer has whole seconds.
_BLUR: Millis = SECOND

# Alerts looked at in one transaction: webhooks wait as long as it takes.
BATCH = 100

_after = alerts.c.id > p("after")
_FIRING = Statement(
    sa.select(alerts)
    .where(alerts.c.source == p("source"), alerts.c.status == sa.literal_column("'firing'"), _after)
    .order_by(alerts.c.id)
    .limit(BATCH)
)
_ENDED = Statement(
    sa.select(alerts).where(
        alerts.c.source == p("source"),
        alerts.c.identity == p("identity"),
        alerts.c.status == "resolved",
    )
)
_MARKED = Statement(
    sa.select(alerts)
    .where(
        alerts.c.status == sa.literal_column("'firing'"),
        sa.or_(alerts.c.withheld.is_not(None), alerts.c.absent_at.is_not(None)),
        _after,
    )
    .order_by(alerts.c.id)
    .limit(BATCH)
)
_MARK = Statement(
    sa.update(alerts)
    .where(alerts.c.id == p("alert"))
    .values(withheld=p("withheld_"), absent_at=p("absent_at_"), listed_by=p("listed_by_"))
)
# What Alertmanager left out of a truncated group (max_alerts) may fire all the same; our own alerts nobody repeats.
_unrepeated = sa.and_(alerts.c.seen_at <= p("seen_up_to"), groups.c.truncated == 0, alerts.c.about.is_(None))
_UNHEARD = Statement(
    sa.select(alerts)
    .join(groups, groups.c.id == alerts.c.group_id)
    .where(
        alerts.c.status == sa.literal_column("'firing'"),
        sa.or_(_unrepeated, alerts.c.fires_until <= p("now")),
        _after,
    )
    .order_by(alerts.c.id)
    .limit(BATCH)
)
_DOUBTS = Statement(
    sa.select(alerts)
    .where(alerts.c.doubt_until <= p("now"))
    .order_by(alerts.c.doubt_until, alerts.c.id)
    .limit(BATCH)
)
_DOUBTED = Statement(
    sa.select(alerts)
    .where(alerts.c.source == p("source"), alerts.c.doubt_until.is_not(None), _after)
    .order_by(alerts.c.id)
    .limit(BATCH)
)
_DISMISS = Statement(
    sa.update(alerts)
    .where(alerts.c.id == p("alert"))
    .values(doubt_until=None, doubt=None, claimed_firing_at=None)
)
_NEXT_DOUBT = Statement(
    sa.select(sa.func.min(alerts.c.doubt_until).label("at")).where(alerts.c.doubt_until.is_not(None))
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
    """An alert that Alertmanager has, as all peers that answered have it."""

    starts_at: Millis
    withheld: str | None = None
    """Why it tells nobody; None: a peer does."""
    peers: frozenset[str] = frozenset()
    """Those that have it."""
    updated_at: Millis | None = None
    """When Prometheus last said so to a peer that tells it, by our clock; None: unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Alertmanager said that it has of a source's alerts."""

    source: str
    asked_at: Millis
    alerts: Mapping[str, Reported]
    """By identity, all that have not ended."""
    confirm: Millis
    """How long an alert has to be absent before it counts as gone."""
    peers: frozenset[str] = frozenset()
    """Those that answered."""


@dataclass(frozen=True, slots=True)
class Listening:
    """How closely the sources are listened to."""

    stale_after: Millis
    """What nothing was heard of for so long has ended; 0: never."""
    asked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The peers that are asked about a source's alerts, by source."""
    trusted: frozenset[str] = frozenset()
    """The sources of which a peer has answered lately."""
    since: Millis = 0
    """Before it, word may have been missed."""


def confirm(
    tx: Transaction, answer: Answer, policy: Policy, now: Millis, after: int = 0
) -> tuple[Receipt, int]:
    """Alerts that Alertmanager has no more are ended, and those that it would not tell are marked.

    :param after: the id of the last alert looked at
    :returns: what it came to, and that id; 0: there are no more
    """
    rows = tx.all(_FIRING, source=answer.source, after=after)
    gone: list[Any] = []
    wake: set[str] = set()
    counting = counting_since(tx)
    for row in rows:
        if row["seen_at"] >= answer.asked_at:
            continue  # heard of since
        reported = answer.alerts.get(row["identity"])
        had = _listed_by(row)
        if reported is not None:
            wake |= _mark(tx, row, reported.withheld, None, policy, now, had | reported.peers)
        elif not had & answer.peers:  # what nobody who answered has ever had can't be missed
            wake |= _mark(tx, row, None, None, policy, now)
        elif row["absent_at"] is None:
            if answer.asked_at - row["seen_at"] >= GRACE:
                wake |= _mark(tx, row, ABSENT, answer.asked_at, policy, now)
        elif answer.asked_at - max(row["absent_at"], counting) >= answer.confirm:
            gone.append(row)
    ended = _end(tx, gone, GONE, policy, now)
    return merged(Receipt((), (), frozenset(wake)), ended), _next(rows)


def reopen(
    tx: Transaction, answer: Answer, identities: Iterable[str], policy: Policy, now: Millis
) -> Receipt:
    """Alerts that Alertmanager has as firing, and that count as ended here, fire again, whatever ended them: it may
    not send them before its next repeat.
    """
    back = [
        (row, answer.alerts[identity].starts_at)
        for identity in identities
        if (row := tx.one(_ENDED, source=answer.source, identity=identity)) is not None
        and _fires(row, answer.alerts[identity], answer.asked_at)
    ]
    return _fire(tx, back, policy, now)


def settle_by_answer(
    tx: Transaction, answer: Answer, policy: Policy, now: Millis, after: int = 0
) -> tuple[Receipt, int]:
    """Of what is in doubt: what a peer has fires, and what those who had it before lack has ended.

    :param after: the id of the last alert looked at
    :returns: what it came to, and that id; 0: there are no more
    """
    rows = tx.all(_DOUBTED, source=answer.source, after=after)
    receipts = [Receipt()]
    told = 0
    for number, row in enumerate(rows):
        if told >= BATCH:
            return merged(*receipts), rows[number - 1]["id"]
        if row["seen_at"] >= answer.asked_at:
            continue  # reported since
        reported = answer.alerts.get(row["identity"])
        if reported is not None and reported.withheld is None and _is_newer(reported, row["changed_at"]):
            receipts.append(fire(tx, row, BACK, policy, now))
            told += _groups_of(row)
        elif reported is None and _listed_by(row) & answer.peers:
            tx.run(_DISMISS, alert=row["id"])
    return merged(*receipts), _next(rows)


def _fires(row: Any, reported: Reported, asked_at: Millis) -> bool:
    """Whether an answer shows that an alert fires which counts as ended."""
    if reported.withheld is not None:
        return False
    if row["note"]:
        return True  # nobody said that it had ended
    ended_at = row["changed_at"]
    if max(ended_at, row["seen_at"]) >= asked_at:
        return False  # its end may have been on its way
    if row["ends_at"] is not None and reported.starts_at > row["ends_at"]:
        ended_at = max(ended_at, reported.starts_at)  # another firing, which it is about to send itself
    elif reported.updated_at is not None and _is_newer(reported, ended_at):
        return True
    # A peer that lags has the end by now.
    return bool(asked_at - ended_at >= PEER_LAG)


def _is_newer(reported: Reported, ended_at: Millis) -> bool:
    """Whether a peer has it from Prometheus, as far as is known, and not from before its end."""
    return reported.updated_at is None or reported.updated_at > ended_at + _BLUR


def unanswered(
    tx: Transaction, trusted: frozenset[str], policy: Policy, now: Millis, after: int = 0
) -> tuple[frozenset[str], int]:
    """What was said of the alerts of other sources than these is too old to count: better told twice than never.

    The destinations that may have something to do, and where to go on.
    """
    rows = tx.all(_MARKED, after=after)
    marked = [row for row in rows if row["source"] not in trusted]
    return frozenset().union(*(_mark(tx, row, None, None, policy, now) for row in marked)), _next(rows)


def expire(
    tx: Transaction, listening: Listening, policy: Policy, now: Millis, after: int = 0
) -> tuple[dict[str, Receipt], int]:
    """What nothing was heard of for too long has ended. What this came to, by source, and where to go on."""
    counted = 0 < listening.stale_after <= now - counting_since(tx)
    seen_up_to = now - listening.stale_after if counted else -1
    rows = tx.all(_UNHEARD, seen_up_to=seen_up_to, now=now, after=after)
    ended: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        if (why := _silence(row, listening, seen_up_to, now)) is not None:
            ended.setdefault((row["source"], why), []).append(row)
    receipts: dict[str, Receipt] = {}
    for (source, why), several in ended.items():
        receipt = _end(tx, several, why, policy, now)
        receipts[source] = merged(receipts[source], receipt) if source in receipts else receipt
    return receipts, _next(rows)


def _silence(row: Any, listening: Listening, seen_up_to: Millis, now: Millis) -> str | None:
    """Why a firing alert that nothing is heard of has ended; None: it has not."""
    if row["fires_until"] is not None and row["fires_until"] <= now and row["seen_at"] >= listening.since:
        return LAPSED
    if row["seen_at"] > seen_up_to:
        return None
    peers = listening.asked.get(row["source"])
    if peers is None or (row["source"] in listening.trusted and not _listed_by(row) & peers):
        return STALE
    return None


def _next(rows: list[Any]) -> int:
    return rows[-1]["id"] if len(rows) == BATCH else 0


def _listed_by(row: Any) -> frozenset[str]:
    return frozenset(row["listed_by"].split())


def settle_doubts(tx: Transaction, policy: Policy, now: Millis) -> tuple[dict[str, Receipt], Millis | None]:
    """What was in doubt for as long as a peer lags fires: nobody has reported another end. About ``BATCH`` times an
    alert and a group.

    :returns: what it came to, by source; and when to settle the next, None: there is no doubt left
    """
    settled: dict[str, Receipt] = {}
    told = 0
    for row in tx.all(_DOUBTS, now=now):
        if told >= BATCH:
            break
        told += _groups_of(row)
        settled[row["source"]] = merged(
            settled.get(row["source"], Receipt()), fire(tx, row, LASTING, policy, now)
        )
    return settled, tx.one(_NEXT_DOUBT)["at"]


def _groups_of(row: Any) -> int:
    """How many groups a doubt is told in: each is a webhook's work."""
    found = doubt_of(row)
    return 0 if found is None else len(found[1])


def fire(tx: Transaction, row: Any, note: str, policy: Policy, now: Millis) -> Receipt:
    """A doubt counts, in every group that reported it. :param note: what was concluded, for the body that is kept"""
    found = doubt_of(row)
    if found is None:
        return Receipt()
    doubt, reported_by = found
    groups_ = [each for each in reported_by if tx.one(GROUP, group=each) is not None] or [row["group_id"]]
    return _accept(tx, [(row["source"], group, doubt.alert) for group in groups_], "", note, policy, now)


def openings(tx: Transaction, now: Millis) -> dict[str, Millis]:
    """When the next held alert of each source is to be let out, by source."""
    return {row["source"]: row["at"] for row in tx.all(_OPENINGS, now=now)}


def _mark(
    tx: Transaction,
    row: Any,
    withheld: str | None,
    absent_at: Millis | None,
    policy: Policy,
    now: Millis,
    listed_by: frozenset[str] | None = None,
) -> frozenset[str]:
    """What was told of it stays told; what was not is judged by this. :param listed_by: None: as it is"""
    listed = row["listed_by"] if listed_by is None else "\n".join(sorted(listed_by))
    if (row["withheld"], row["absent_at"], row["listed_by"]) == (withheld, absent_at, listed):
        return frozenset()
    tx.run(_MARK, alert=row["id"], withheld_=withheld, absent_at_=absent_at, listed_by_=listed)
    return frozenset() if row["withheld"] == withheld else reconsider(tx, policy, row["id"], now)


def _end(tx: Transaction, rows: list[Any], note: str, policy: Policy, now: Millis) -> Receipt:
    """It was there until it was missed, or as long as it was repeated, or as long as its sender said."""
    ended = []
    for row in rows:
        last = row["fires_until"] if note == LAPSED else row["absent_at"] or row["seen_at"]
        alert = replace(alert_of(row), status=Status.RESOLVED, ends_at=last, fires_until=None)
        ended.append((row["source"], row["group_id"], alert))
    return _accept(tx, ended, note, note, policy, now)


def _fire(tx: Transaction, rows: list[tuple[Any, Millis]], policy: Policy, now: Millis) -> Receipt:
    fired = [
        (
            row["source"],
            row["group_id"],
            replace(alert_of(row), status=Status.FIRING, starts_at=starts_at, ends_at=None, note=""),
        )
        for row, starts_at in rows
    ]
    return _accept(tx, fired, "", BACK, policy, now)


def _accept(
    tx: Transaction, told: list[tuple[str, int, Alert]], note: str, why: str, policy: Policy, now: Millis
) -> Receipt:
    """As if Alertmanager had sent it; the body that is kept says what was concluded.

    :param told: source, group and alert
    """
    by_group: dict[tuple[str, int], list[Alert]] = {}
    for source, group_id, alert in told:
        by_group.setdefault((source, group_id), []).append(alert)
    receipts = []
    for (source, group_id), several in by_group.items():
        group = tx.one(GROUP, group=group_id)
        webhook = Webhook(
            group["receiver"], group["group_key"], json.loads(group["labels"]), group["external_url"],
            group["truncated"], tuple(several),
        )  # fmt: skip
        body = _body(webhook, why)
        receipts.append(accept(tx, webhook, source, body, policy, now, note, certain=True))
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
