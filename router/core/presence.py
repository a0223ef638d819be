"""What is still so: what Alertmanager's answers, or silence, do to the alerts that count as firing or as ended.

Alertmanager sends no resolve of an alert that was muted, silenced or inhibited after it had fired, or that it forgot
at a restart. https://github.com/prometheus/alertmanager/issues/226
A peer that is cut off from Prometheus resolves what still fires, and the others need not send it again for hours.

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
# A webhook and the answer to a question may overtake one another; and Alertmanager may have been restarted just
# now, and know nothing before Prometheus' next evaluation.
ABSENCE_GRACE: Millis = MINUTE
# How exact a peer's clock is known: the Date of its answer has whole seconds.
_PEER_CLOCK_ERROR: Millis = SECOND

BATCH = 100
"""Alerts looked at in one batch: webhooks wait as long as it takes."""


@dataclass(frozen=True, slots=True)
class Reported:
    """An alert that Alertmanager has, as all peers that answered have it."""

    starts_at: Millis
    withheld: str | None = None
    """Why it notifies nobody; None: a peer does."""
    peers: frozenset[str] = frozenset()
    """Those that have it."""
    updated_at: Millis | None = None
    """When Prometheus last said so to a peer that notifies, by our clock; None: unknown."""


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


def want_marked(state: State, policy: Policy, ids: Iterable[int], now: Millis) -> None:
    """Have the rows loaded that a look at these alerts may ask for, in rounds. :raises Missing:"""
    ids = list(ids)
    state.meta.want("id", (SINCE, DATABASE_ID))
    want_rejudged(state, policy, ids, now)


def confirm(state: State, answer: Answer, ids: Sequence[int], policy: Policy, now: Millis) -> Receipt:
    """Alerts that Alertmanager has no more are ended, and those that it would not notify of are marked.

    :param ids: of firing alerts of its source
    """
    gone: list[AlertRow] = []
    wake: set[str] = set()
    counting = counting_since(state)
    for row in _firing(state, ids):
        if row.seen_at >= answer.asked_at:
            continue  # heard of since
        reported = answer.alerts.get(row.identity)
        had = _listed_by(row)
        if reported is not None:
            wake |= _mark(state, row, reported.withheld, None, policy, now, had | reported.peers)
        elif not had & answer.peers:  # what nobody who answered has ever had can't be missed
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
    """Alerts that Alertmanager has as firing, and that count as ended here, fire again, whatever ended them: it may
    not send them before its next repeat.
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
    """Of what is in doubt: what a peer has fires, and what those who had it before lack has ended.

    :param ids: of alerts of its source that are in doubt
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
    return merged(*state.together(partial(settle_doubt, state, row, BACK, policy, now) for row in back))


def _fires(row: AlertRow, reported: Reported, asked_at: Millis) -> bool:
    """Whether an answer shows that an alert fires which counts as ended."""
    if reported.withheld is not None:
        return False
    if row.note:
        return True  # nobody said that it had ended
    ended_at = row.changed_at
    if max(ended_at, row.seen_at) >= asked_at:
        return False  # its end may have been on its way
    if row.ends_at is not None and reported.starts_at > row.ends_at:
        ended_at = max(ended_at, reported.starts_at)  # another firing, which it is about to send itself
    elif reported.updated_at is not None and _is_newer(reported, ended_at):
        return True
    # A peer that lags has the end by now.
    return asked_at - ended_at >= PEER_LAG


def _is_newer(reported: Reported, ended_at: Millis) -> bool:
    """Whether a peer has it from Prometheus, as far as is known, and not from before its end."""
    return reported.updated_at is None or reported.updated_at > ended_at + _PEER_CLOCK_ERROR


def forget_answers(
    state: State, trusted: frozenset[str], ids: Sequence[int], policy: Policy, now: Millis
) -> frozenset[str]:
    """What was said of the alerts of other sources than these is too old to count: better notified twice than never.

    The destinations that may have something to do.
    """
    woken: set[str] = set()
    for row in _firing(state, ids):
        if row.source not in trusted:
            woken |= _mark(state, row, None, None, policy, now)
    return frozenset(woken)


def expire(
    state: State, listening: Listening, ids: Sequence[int], policy: Policy, now: Millis
) -> dict[str, Receipt]:
    """What nothing was heard of for too long has ended. What this came to, by source."""
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
    """What was last heard of before this is stale; -1: nothing is."""
    counted = 0 < listening.stale_after <= now - counting_since(state)
    return now - listening.stale_after if counted else -1


def _silence(
    state: State, row: AlertRow, listening: Listening, seen_up_to: Millis, now: Millis
) -> str | None:
    """Why a firing alert that nothing is heard of has ended; None: it has not."""
    if row.fires_until is not None and row.fires_until <= now and row.seen_at >= listening.since:
        return LAPSED
    # What Alertmanager left out of a truncated group (max_alerts) may fire all the same; self-alerts nobody repeats.
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
    """What was in doubt for as long as a peer lags fires: nobody has reported another end. About :data:`BATCH` times
    an alert and a group.

    :param ids: of alerts whose doubt may have lasted for so long
    :returns: what it came to, by source; and when the first one of these lasted that is left, None: none is
    """
    lasting: list[AlertRow] = []
    webhooks = 0
    left: Millis | None = None
    for id_ in ids:
        row = state.alerts.get(id_)
        found = None if row is None else doubt_of(row)
        if row is None or found is None or found[0].until > now:
            continue
        if webhooks >= BATCH:
            left = found[0].until
            break
        webhooks += len(found[1])
        lasting.append(row)
    receipts = state.together(partial(settle_doubt, state, row, LASTING, policy, now) for row in lasting)
    settled: dict[str, Receipt] = {}
    for row, receipt in zip(lasting, receipts, strict=True):
        settled[row.source] = merged(settled.get(row.source, Receipt()), receipt)
    return settled, left


def settle_doubt(state: State, row: AlertRow, note: str, policy: Policy, now: Millis) -> Receipt:
    """A doubt counts, in every group that reported it. :param note: what was concluded, for the body that is kept"""
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
    """What was notified of it stays so; what was not is judged by this. :param listed_by: None: as it is"""
    listed = row.listed_by if listed_by is None else "\n".join(sorted(listed_by))
    state.alerts.put(row._replace(withheld=withheld, absent_at=absent_at, listed_by=listed))
    return frozenset() if row.withheld == withheld else rejudge(state, policy, row.id, now)


def _end(state: State, ended: list[AlertRow], note: str, policy: Policy, now: Millis) -> Receipt:
    """It was there until it was missed, or as long as it was repeated, or as long as its sender said."""
    found = []
    for row in ended:
        last = row.fires_until if note == LAPSED else row.absent_at or row.seen_at
        alert = replace(alert_of(row), status=Status.RESOLVED, ends_at=last, fires_until=None)
        found.append((row.source, row.group_id, alert))
    return _accept(state, found, note, note, policy, now)


def _accept(
    state: State, found: list[tuple[str, int, Alert]], note: str, why: str, policy: Policy, now: Millis
) -> Receipt:
    """As if Alertmanager had sent it; the body that is kept says what was concluded.

    :param found: source, group and alert
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
    state.together(
        partial(want_accepted, state, webhook, source, policy, now) for source, webhook in webhooks
    )
    return merged(
        *state.together(
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
    """As if they were one."""
    return Receipt(
        tuple(change for each in receipts for change in each.changes),
        tuple(decision for each in receipts for decision in each.decisions),
        frozenset().union(*(each.wake for each in receipts)),
        any(each.unreleased for each in receipts),
    )
