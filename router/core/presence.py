"""Presence: what answers of Alertmanager, or missing repeats, do to alerts that count as firing or as ended.

Alertmanager sends no resolve for an alert that was muted, silenced or inhibited after it fired, or that it forgot at a
restart: https://github.com/prometheus/alertmanager/issues/226. A peer that is cut off from Prometheus resolves alerts
that still fire, and the other peers may not send them again for hours.

Each function takes some alerts, and is called again for the next ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from router.core.accept import Receipt, accept_webhook, want_accepted
from router.core.alerts import alert_of, doubt_of
from router.core.conversations import DATABASE_ID
from router.core.judging import ABSENT, rejudge, want_rejudged
from router.core.reduce import PEER_LAG
from router.core.rows import FIRING, RESOLVED, AlertRow
from router.core.state import State
from router.core.uptime import SINCE, counting_since
from router.decide import Policy
from router.model import MINUTE, SECOND, Alert, Millis, Status, Webhook

GONE = "gone from Alertmanager"
STALE = "no longer repeated"
LAPSED = "its endsAt has passed"
BACK = "firing in Alertmanager"
LASTING = "no other end was reported"
# A webhook and an answer may overtake each other. An Alertmanager that has just restarted knows no alert before the
# next evaluation of Prometheus.
ABSENCE_GRACE: Millis = MINUTE
# The error of a peer's clock: the Date header of its answer has whole seconds.
_PEER_CLOCK_ERROR: Millis = SECOND

ALERTS_PER_BATCH = 100
"""How many alerts one batch examines. Webhooks wait for the batch."""


@dataclass(frozen=True, slots=True)
class Reported:
    """An alert that Alertmanager lists, merged from the peers that answered."""

    starts_at: Millis
    withheld: str | None = None
    """Why no peer sends notifications of it (silenced, inhibited or muted); None: a peer sends them."""
    peers: frozenset[str] = frozenset()
    """The peers that list it."""
    updated_at: Millis | None = None
    """When Prometheus last sent it to a peer that notifies (epoch ms, our clock); None: unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of Alertmanager: the alerts of a source that it lists."""

    source: str
    asked_at: Millis
    alerts: Mapping[str, Reported]
    """By identity: all alerts that have not ended."""
    confirm: Millis
    """How long an alert has to be absent before it counts as gone (ms)."""
    peers: frozenset[str] = frozenset()
    """The peers that answered."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What is known about how the sources report."""

    stale_after: Millis
    """An alert that was not repeated for this long has ended (ms); 0: never."""
    asked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By source: the peers that are asked about its alerts."""
    trusted: frozenset[str] = frozenset()
    """The sources of which a peer has answered recently."""
    since: Millis = 0
    """Reports before this time may have been missed (epoch ms)."""


def want_marked(state: State, policy: Policy, ids: Iterable[int], now: Millis) -> None:
    """Load the rows that checking these alerts may need, in rounds. :raises MissingRows: not loaded yet"""
    ids = list(ids)
    state.meta.want("id", (SINCE, DATABASE_ID))
    want_rejudged(state, policy, ids, now)


def confirm(state: State, answer: Answer, ids: Sequence[int], policy: Policy, now: Millis) -> Receipt:
    """End alerts that Alertmanager no longer lists, and mark those that it would not notify of.

    :param ids: of firing alerts of the answer's source
    """
    gone: list[AlertRow] = []
    wake: set[str] = set()
    counting = counting_since(state)
    for row in _firing(state, ids):
        if row.seen_at >= answer.asked_at:
            continue  # reported since
        reported = answer.alerts.get(row.identity)
        had = _listed_by(row)
        if reported is not None:
            wake |= _mark(state, row, reported.withheld, None, policy, now, had | reported.peers)
        elif not had & answer.peers:  # no peer that answered has ever listed it, so it cannot be missing
            wake |= _mark(state, row, None, None, policy, now)
        elif row.absent_at is None:
            if answer.asked_at - row.seen_at >= ABSENCE_GRACE:
                wake |= _mark(state, row, ABSENT, answer.asked_at, policy, now)
        elif answer.asked_at - max(row.absent_at, counting) >= answer.confirm:
            gone.append(row)
    ended = _end(state, gone, GONE, policy, now)
    return merged(Receipt((), (), frozenset(wake)), ended)


def _firing(state: State, ids: Iterable[int]) -> list[AlertRow]:
    return [row for id_ in ids if (row := state.alerts.get(id_)) is not None and row.status == FIRING]


def reopen(state: State, answer: Answer, identities: Sequence[str], policy: Policy, now: Millis) -> Receipt:
    """Reopen alerts that Alertmanager lists as firing, but that count as ended for any reason.

    Alertmanager may not send them before its next repeat.

    :param identities: of alerts of the answer's source
    """
    state.alerts.want("identity", ((answer.source, each) for each in identities))
    state.ready()
    back = [
        (row, answer.alerts[identity].starts_at)
        for identity in identities
        if (row := state.alerts.one("identity", (answer.source, identity))) is not None
        and row.status == RESOLVED
        and _fires(row, answer.alerts[identity], answer.asked_at)
    ]
    fired = [
        (
            row.source,
            row.group_id,
            replace(alert_of(row), status=Status.FIRING, starts_at=starts_at, ends_at=None, note=""),
        )
        for row, starts_at in back
    ]
    return _accept(state, fired, "", BACK, policy, now)


def settle_by_answer(
    state: State, answer: Answer, ids: Sequence[int], policy: Policy, now: Millis
) -> Receipt:
    """Settle doubts by an answer: an alert that a peer lists fires; one that its former peers lack has ended.

    :param ids: of alerts of the answer's source that are in doubt
    """
    back: list[AlertRow] = []
    for id_ in ids:
        row = state.alerts.get(id_)
        if row is None or row.doubt_until is None or row.seen_at >= answer.asked_at:
            continue  # reported since
        reported = answer.alerts.get(row.identity)
        if reported is not None and reported.withheld is None and _is_newer(reported, row.changed_at):
            back.append(row)
        elif reported is None and _listed_by(row) & answer.peers:
            state.alerts.put(row._replace(doubt_until=None, doubt=None, claimed_firing_at=None))
    return merged(*state.run_all(partial(settle_doubt, state, row, BACK, policy, now) for row in back))


def _fires(row: AlertRow, reported: Reported, asked_at: Millis) -> bool:
    """Return whether an answer shows that an alert fires which counts as ended."""
    if reported.withheld is not None:
        return False
    if row.note:
        return True  # no sender reported its end
    ended_at = row.changed_at
    if max(ended_at, row.seen_at) >= asked_at:
        return False  # its end may have been under way
    if row.ends_at is not None and reported.starts_at > row.ends_at:
        ended_at = max(
            ended_at, reported.starts_at
        )  # another firing, which Alertmanager is about to send itself
    elif reported.updated_at is not None and _is_newer(reported, ended_at):
        return True
    # By then, a peer that lags has the end, too.
    return asked_at - ended_at >= PEER_LAG


def _is_newer(reported: Reported, ended_at: Millis) -> bool:
    """Return whether Prometheus may have sent the alert to a peer after its end."""
    return reported.updated_at is None or reported.updated_at > ended_at + _PEER_CLOCK_ERROR


def forget_answers(
    state: State, trusted: frozenset[str], ids: Sequence[int], policy: Policy, now: Millis
) -> frozenset[str]:
    """Forget old answers about alerts of sources that are not trusted: notifying twice is better than never.

    Return the keys of destinations that may have something to send.
    """
    woken: set[str] = set()
    for row in _firing(state, ids):
        if row.source not in trusted:
            woken |= _mark(state, row, None, None, policy, now)
    return frozenset(woken)


def expire(
    state: State, listening: Listening, ids: Sequence[int], policy: Policy, now: Millis
) -> dict[str, Receipt]:
    """End alerts that were not reported for too long. Return the receipts by source."""
    state.groups.want("id", (row.group_id for row in _firing(state, ids)))
    state.ready()
    seen_up_to = silent_since(state, listening, now)
    ended: dict[tuple[str, str], list[AlertRow]] = {}
    for row in _firing(state, ids):
        if (why := _silence(state, row, listening, seen_up_to, now)) is not None:
            ended.setdefault((row.source, why), []).append(row)
    receipts: dict[str, Receipt] = {}
    for (source, why), several in ended.items():
        receipt = _end(state, several, why, policy, now)
        receipts[source] = merged(receipts[source], receipt) if source in receipts else receipt
    return receipts


def silent_since(state: State, listening: Listening, now: Millis) -> Millis:
    """Return the time before which a last report is stale (epoch ms); -1: no alert is stale."""
    counted = 0 < listening.stale_after <= now - counting_since(state)
    return now - listening.stale_after if counted else -1


def _silence(
    state: State, row: AlertRow, listening: Listening, seen_up_to: Millis, now: Millis
) -> str | None:
    """Return why a firing alert that is not reported any more has ended; None: it has not."""
    if row.fires_until is not None and row.fires_until <= now and row.seen_at >= listening.since:
        return LAPSED
    # An alert that Alertmanager left out of a truncated group (max_alerts) may still fire. Self-alerts are not repeated.
    if row.seen_at > seen_up_to or row.about is not None or state.groups[row.group_id].truncated:
        return None
    peers = listening.asked.get(row.source)
    if peers is None or (row.source in listening.trusted and not _listed_by(row) & peers):
        return STALE
    return None


def _listed_by(row: AlertRow) -> frozenset[str]:
    return frozenset(row.listed_by.split())


def settle_doubts(
    state: State, ids: Sequence[int], policy: Policy, now: Millis
) -> tuple[dict[str, Receipt], Millis | None]:
    """Count alerts as firing whose doubt has lasted for the peer lag, because no other end was reported.

    Handles about :data:`ALERTS_PER_BATCH` pairs of alert and group.

    :param ids: of alerts whose doubt may have lasted for so long
    :returns: the receipts by source; and when the first doubt that is left has lasted (epoch ms), None: none is left
    """
    lasting: list[AlertRow] = []
    webhooks = 0
    left: Millis | None = None
    for id_ in ids:
        row = state.alerts.get(id_)
        found = None if row is None else doubt_of(row)
        if row is None or found is None or found[0].until > now:
            continue
        if webhooks >= ALERTS_PER_BATCH:
            left = found[0].until
            break
        webhooks += len(found[1])
        lasting.append(row)
    receipts = state.run_all(partial(settle_doubt, state, row, LASTING, policy, now) for row in lasting)
    settled: dict[str, Receipt] = {}
    for row, receipt in zip(lasting, receipts, strict=True):
        settled[row.source] = merged(settled.get(row.source, Receipt()), receipt)
    return settled, left


def settle_doubt(state: State, row: AlertRow, note: str, policy: Policy, now: Millis) -> Receipt:
    """Accept a doubted firing in every group that reported it. :param note: the conclusion, for the body that is kept"""
    found = doubt_of(row)
    if found is None:
        return Receipt()
    doubt, reported_by = found
    state.groups.want("id", reported_by)
    state.ready()
    groups = [each for each in reported_by if state.groups.get(each) is not None] or [row.group_id]
    return _accept(state, [(row.source, group, doubt.alert) for group in groups], "", note, policy, now)


def _mark(
    state: State,
    row: AlertRow,
    withheld: str | None,
    absent_at: Millis | None,
    policy: Policy,
    now: Millis,
    listed_by: frozenset[str] | None = None,
) -> frozenset[str]:
    """Save what Alertmanager says about an alert. Members that were not notified are judged by it.

    :param listed_by: the peers that list it; None: the same as before
    """
    listed = row.listed_by if listed_by is None else "\n".join(sorted(listed_by))
    state.alerts.put(row._replace(withheld=withheld, absent_at=absent_at, listed_by=listed))
    return frozenset() if row.withheld == withheld else rejudge(state, policy, row.id, now)


def _end(state: State, ended: list[AlertRow], note: str, policy: Policy, now: Millis) -> Receipt:
    """End alerts, at the time when they were last present, last reported, or due to end by their sender."""
    found = []
    for row in ended:
        last = row.fires_until if note == LAPSED else row.absent_at or row.seen_at
        alert = replace(alert_of(row), status=Status.RESOLVED, ends_at=last, fires_until=None)
        found.append((row.source, row.group_id, alert))
    return _accept(state, found, note, note, policy, now)


def _accept(
    state: State, found: list[tuple[str, int, Alert]], note: str, why: str, policy: Policy, now: Millis
) -> Receipt:
    """Accept alerts as if Alertmanager had sent them.

    :param found: source, id of the group, and alert
    :param note: why they count as ended; empty: they fire
    :param why: the conclusion, for the body that is kept
    """
    by_group: dict[tuple[str, int], list[Alert]] = {}
    for source, group_id, alert in found:
        by_group.setdefault((source, group_id), []).append(alert)
    state.groups.want("id", (group for _, group in by_group))
    state.ready()
    webhooks = []
    for (source, group_id), several in by_group.items():
        group = state.groups[group_id]
        webhook = Webhook(
            group.receiver, group.group_key, json.loads(group.labels), group.external_url, group.truncated,
            tuple(several),
        )  # fmt: skip
        webhooks.append((source, webhook))
    state.run_all(partial(want_accepted, state, webhook, source, policy, now) for source, webhook in webhooks)
    return merged(
        *state.run_all(
            partial(
                accept_webhook, state, webhook, source, _body(webhook, why), policy, now, note, certain=True
            )
            for source, webhook in webhooks
        )
    )


def _body(webhook: Webhook, note: str) -> bytes:
    concluded = [
        {"status": each.status, "labels": dict(each.labels), "fingerprint": each.fingerprint}
        for each in webhook.alerts
    ]
    return json.dumps({"note": note, "groupKey": webhook.group_key, "alerts": concluded}).encode()


def merged(*receipts: Receipt) -> Receipt:
    """Return receipts merged into one."""
    return Receipt(
        tuple(change for each in receipts for change in each.changes),
        tuple(decision for each in receipts for decision in each.decisions),
        frozenset().union(*(each.wake for each in receipts)),
        any(each.unreleased for each in receipts),
    )
