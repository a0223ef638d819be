"""Reported alerts: what a webhook changes in what is known about each of its alerts, and about what these inhibit."""

import json
from dataclasses import dataclass, field, replace

from router.core.alerts import (
    about_of,
    doubt_of,
    known_of,
    labels_of,
    written_about,
    written_annotations,
    written_doubt,
    written_links,
)
from router.core.reduce import PEER_LAG, Doubt, reduce_alert
from router.core.rows import AlertRow, InhibitorRow
from router.core.state import State
from router.core.subjects import Subject
from router.decide import Policy
from router.model import Alert, Change, Millis, Status, Webhook


@dataclass(frozen=True, slots=True)
class Accepting:
    """A webhook, or a piece of one, while its alerts are decided."""

    state: State
    source: str
    webhook: Webhook
    group: int
    arrival: int
    """The id of the webhook, which is its number in the order of arrival."""
    policy: Policy
    now: Millis
    note: str = ""
    """Why the alerts count as ended, if the router concluded it; empty: a sender posted the webhook."""
    certain: bool = False
    """See :func:`router.core.reduce.reduce_alert`."""
    deciding: int | None = None
    """The id of the webhook, if these are only some of its alerts."""
    freed: set[str] = field(default_factory=set)
    """Collects the inhibition keys of alerts that ended."""
    ended_in: set[int] = field(default_factory=set)
    """Collects the ids of conversations in which alerts ended."""
    no_longer_withheld: set[int] = field(default_factory=set)
    """Collects the ids of alerts that Alertmanager withheld by its last answer; a report shows that it sends them."""

    @property
    def peer(self) -> str:
        """The Alertmanager peer that reports; empty: the router concluded it."""
        return "" if self.note else f"{self.webhook.external_url} {self.webhook.sender}"


@dataclass(frozen=True, slots=True)
class AcceptedAlert:
    """One alert of a webhook, after it was compared with what was known about it."""

    subject: Subject
    alert: Alert
    kind: Change
    peer_duplicate: bool
    """Another peer of an HA pair reports the same some time later: it is not sent as a repeat."""
    doubt: bool
    """The sender reports it as firing; it counts as ended until the doubt is settled."""


def update_alert(accepting: Accepting, reported: Alert) -> AcceptedAlert:
    """Save what a webhook reports of an alert, and update what it inhibits. Return the change that the report makes."""
    state, source, webhook = accepting.state, accepting.source, accepting.webhook
    policy, now, note, peer = accepting.policy, accepting.now, accepting.note, accepting.peer
    identity = reported.identity
    row = state.alerts.one("identity", (source, identity))
    if row is not None and row.arrival > accepting.arrival:
        return _out_of_date(accepting, row, reported)
    before = None if row is None else known_of(row)
    kind, known = reduce_alert(before, reported, peer, now, certain=accepting.certain)
    peer_duplicate = row is not None and row.peer != peer and now - row.seen_at < PEER_LAG
    alert = known.alert
    level, _ = policy.severity.of(alert.labels)
    doubt_until, doubt = _doubt_columns(known.doubt, row, accepting.group)
    number = state.new_id() if row is None else row.id
    after = state.alerts.put(
        AlertRow(
            id=number, source=source, identity=identity, group_id=accepting.group,
            labels=json.dumps(dict(alert.labels)), annotations=written_annotations(alert.annotations),
            links=written_links(alert), generator_url=alert.generator_url, status=str(alert.status),
            level=level, starts_at=alert.starts_at, ends_at=alert.ends_at, peer=known.peer,
            changed_at=known.changed_at, seen_at=now if row is None or not note else row.seen_at, note=note,
            withheld=None, absent_at=None, fingerprint=reported.fingerprint, about=written_about(alert),
            latest_start=known.latest_start, doubt_until=doubt_until, doubt=doubt,
            listed_by="" if row is None or kind is Change.FIRED else row.listed_by,
            fires_until=alert.fires_until if alert.status is Status.FIRING else None,
            claimed_firing_at=_contradicted_since(row, reported, alert, now),
            last_change_id=None if row is None else row.last_change_id, arrival=accepting.arrival,
        )
    )  # fmt: skip
    if kind is Change.FIRED:
        if row is not None:
            for each in state.inhibitors.of("alert", number):
                state.inhibitors.remove(each)
        index_inhibitor(state, policy, after)
    elif kind is Change.RESOLVED and row is not None:
        for each in state.inhibitors.of("alert", number):
            accepting.freed.add(each.key)
            state.inhibitors.remove(each)
    if row is not None and row.withheld is not None:
        accepting.no_longer_withheld.add(number)
    subject = Subject(
        number, source, identity, level, accepting.group, webhook.receiver, webhook.group_key,
        policy.tenants.of(alert.labels),
    )  # fmt: skip
    return AcceptedAlert(subject, alert, kind, peer_duplicate, known.doubt is not None)


def _out_of_date(accepting: Accepting, row: AlertRow, reported: Alert) -> AcceptedAlert:
    """Return an alert that a later webhook has reported already: this report counts as a repeat of what is known."""
    webhook, known = accepting.webhook, known_of(row)
    subject = Subject(
        row.id, row.source, row.identity, row.level, accepting.group, webhook.receiver, webhook.group_key,
        accepting.policy.tenants.of(known.alert.labels),
    )  # fmt: skip
    alert = replace(known.alert, fingerprint=reported.fingerprint)
    return AcceptedAlert(subject, alert, Change.REPEATED, peer_duplicate=True, doubt=known.doubt is not None)


def _doubt_columns(doubt: Doubt | None, row: AlertRow | None, group: int) -> tuple[Millis | None, str | None]:
    """Return the columns of a doubt. If the doubt lasts, the alert fires in every group that reported it."""
    if doubt is None:
        return None, None
    before = None if row is None else doubt_of(row)
    groups = [] if before is None else before[1]
    if group not in groups:
        groups = [*groups, group]
    return doubt.until, written_doubt(doubt, groups)


def _contradicted_since(row: AlertRow | None, reported: Alert, known: Alert, now: Millis) -> Millis | None:
    """Return since when a sender reports the alert as firing although it counts as ended; None: none does."""
    if reported.status is not Status.FIRING or known.status is Status.FIRING:
        return None
    return now if row is None or row.claimed_firing_at is None else row.claimed_firing_at


def index_inhibitor(state: State, policy: Policy, alert: AlertRow) -> None:
    """Index the keys that a firing alert inhibits. A self-alert mutes no alerts: no rule is meant for it."""
    if about_of(alert) is not None or not policy.inhibition.rules:
        return
    for key in policy.match(labels_of(alert), alert.identity).mutes:
        state.inhibitors.put(InhibitorRow(key.text, alert.id, int(key.two_sided)))
