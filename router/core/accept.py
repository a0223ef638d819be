"""Accepting a webhook: its alerts become changes, decisions and fates. Either all of them are saved or none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from router.core.conversations import DATABASE_ID, close_empty
from router.core.ending import EndTransition, want_given_up_ends
from router.core.firing import FiringTransition
from router.core.groups import complete_group, put_group
from router.core.judging import judge, rejudge_all, want_judged, want_rejudged
from router.core.release import alerts_to_judge, release_muted, want_released
from router.core.reported_alerts import AcceptedAlert, Accepting, update_alert
from router.core.rows import ChangeRow, WebhookRow
from router.core.state import MissingRows, State
from router.core.subjects import Subject, want_memberships
from router.core.unsent_ends import sends_ends
from router.decide import Policy
from router.decide.heartbeats import first_of
from router.model import Alert, Change, Decision, DecisionKind, Destination, Millis, Status, Webhook


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of accepting a webhook."""

    changes: tuple[tuple[Change, str, bool], ...] = ()
    """For each change: its kind, the level of the alert, and whether its severity label names a known level, as it should
    unless the alert is a heartbeat."""
    decisions: tuple[tuple[str, DecisionKind], ...] = ()
    """For each decision: the key of the destination, and the kind."""
    wake: frozenset[str] = frozenset()
    """The keys of destinations that may have something to send."""
    unreleased: bool = False
    """Many alerts are no longer muted; they are judged in pieces, see :func:`router.core.release.release_some`."""
    webhook: int = 0
    """The id of the webhook; 0: it has none, as a decision without a webhook."""
    heartbeats: frozenset[str] = frozenset()
    """The names of the heartbeats that the webhook reports as firing."""
    kept: bool = False
    """The webhook is kept and not decided yet, because other rules are in force, or others wait that came before it."""


def merged(*receipts: Receipt) -> Receipt:
    """Return receipts merged into one."""
    return Receipt(
        tuple(change for each in receipts for change in each.changes),
        tuple(decision for each in receipts for decision in each.decisions),
        frozenset().union(*(each.wake for each in receipts)),
        any(each.unreleased for each in receipts),
        heartbeats=frozenset().union(*(each.heartbeats for each in receipts)),
    )


def want_accepted(
    state: State, webhook: Webhook, source: str, policy: Policy, now: Millis, *, whole: bool = True
) -> None:
    """Request the rows that :func:`accept_webhook` needs.

    :param whole: the webhook has all its alerts, not only a piece
    :raises MissingRows: some are not loaded yet
    """
    state.groups.want("key", ((source, webhook.receiver, webhook.group_key),))
    state.alerts.want("identity", ((source, alert.identity) for alert in webhook.alerts))
    state.meta.want("id", (DATABASE_ID,))
    with suppress(MissingRows):
        want_judged(state, policy, ((alert.identity, alert.labels) for alert in webhook.alerts))
    with suppress(MissingRows):
        want_memberships(state, policy, _destinations_by_subject(webhook, source, policy, {}), now)
    state.ready()
    group = state.groups.one("key", (source, webhook.receiver, webhook.group_key))
    if group is not None and whole and webhook.truncated == 0:
        state.conversations.want("open of group", (group.id,))
    known = {
        alert.identity: row.id
        for alert in webhook.alerts
        if (row := state.alerts.one("identity", (source, alert.identity))) is not None
    }
    if not known:
        state.ready()
        return
    state.members.want("open of alert", known.values())
    state.inhibitors.want("alert", known.values())
    with suppress(MissingRows):
        want_memberships(state, policy, _destinations_by_subject(webhook, source, policy, known), now)
    state.ready()
    members = [member for id_ in known.values() for member in state.members.of("open of alert", id_)]
    state.conversations.want("id", {member.conversation_id for member in members})
    state.fates.want("open of member", (member.id for member in members))
    state.ready()
    withheld = [id_ for id_ in known.values() if state.alerts[id_].withheld is not None]
    if withheld:
        want_rejudged(state, policy, withheld, now)
    ending = [
        known[alert.identity]
        for alert in webhook.alerts
        if alert.status is Status.RESOLVED and alert.identity in known
    ]
    if ending:
        over = set(ending)
        want_given_up_ends(state, policy, (each for each in members if each.alert_id in over))
        _want_ended(state, policy, ending, {member.conversation_id for member in members}, now)


def _want_ended(
    state: State, policy: Policy, ending: list[int], conversations: set[int], now: Millis
) -> None:
    """Request the rows that the ends of these alerts need: the alerts that they muted, and conversations that may close."""
    keys = {each.key for id_ in ending for each in state.inhibitors.of("alert", id_)}
    want_released(state, keys)
    state.dead_letters.want("open of conversation", conversations)
    # Conversations that may be over with these ends. Where the firing was notified, the end is usually still to be sent.
    over = (
        row
        for id_ in conversations
        if (row := state.conversations[id_]).firing <= len(ending)
        and not row.is_large
        and not (row.known and sends_ends(state, policy, row.destination))
    )
    state.members.want("conversation", (row.id for row in over))
    state.ready()
    want_rejudged(state, policy, alerts_to_judge(state, keys), now)


def _destinations_by_subject(
    webhook: Webhook, source: str, policy: Policy, known: Mapping[str, int]
) -> Iterator[tuple[Subject, Sequence[Destination]]]:
    """Yield each alert as a subject, with the destinations that it may be sent to."""
    for alert in webhook.alerts:
        matched = policy.match(alert.labels, alert.identity, own=alert.about is not None)
        id_ = known.get(alert.identity, 0)
        group = webhook.receiver, webhook.group_key
        yield Subject(id_, source, alert.identity, matched.level, 0, *group), matched.destinations


def accept_webhook(
    state: State,
    webhook: Webhook,
    source: str,
    body: bytes,
    policy: Policy,
    now: Millis,
    note: str = "",
    *,
    certain: bool = False,
) -> Receipt:
    """Accept a webhook in two passes: first the inhibit rules learn what fires, then each alert is judged by them.

    :param note: why the alerts count as ended, if the router concluded it; empty: a sender posted the webhook
    :param certain: see :func:`router.core.reduce.reduce_alert`
    """
    arrival = state.webhooks.put(WebhookRow(state.new_id(), source, now, body, None, None)).id
    group = put_group(state, webhook, source)
    return decide_whole(Accepting(state, source, webhook, group, arrival, policy, now, note, certain=certain))


def decide_whole(accepting: Accepting) -> Receipt:
    """Decide all alerts of a webhook."""
    state, webhook = accepting.state, accepting.webhook
    receipt = decide_all(accepting)
    woken: set[str] = set()
    if webhook.truncated == 0:
        woken = complete_group(state, accepting.group, accepting.policy, accepting.now)
    close_empty(state, accepting.ended_in)
    return replace(receipt, wake=receipt.wake | woken, webhook=accepting.arrival)


def decide_all(accepting: Accepting) -> Receipt:
    """Update and judge the alerts of a webhook, and apply the decisions."""
    state, policy, now = accepting.state, accepting.policy, accepting.now
    accepted = [update_alert(accepting, alert) for alert in accepting.webhook.alerts]
    judged = [
        judge(
            state, policy, each.alert.labels, each.alert.about, now, each.subject.identity, accepting.source
        )
        for each in accepted
    ]
    decisions: list[tuple[str, DecisionKind]] = []
    wake: set[str] = set()
    for each, decided in zip(accepted, judged, strict=True):
        wake |= _apply_change(accepting, each, decided)
        if each.alert.status is Status.FIRING:
            decisions += ((decision.destination.key, decision.kind) for decision in decided)
    # Members in other groups are released as well: Alertmanager may not report these groups again for hours.
    wake |= rejudge_all(state, policy, sorted(accepting.no_longer_withheld), now)
    woken, unreleased = release_muted(state, policy, accepting.freed, now)
    kinds = tuple((each.kind, *_level(accepting, each.alert)) for each in accepted)
    beats = _heartbeats(accepting)
    return Receipt(kinds, tuple(decisions), frozenset(wake | woken), unreleased, heartbeats=beats)


def _level(accepting: Accepting, alert: Alert) -> tuple[str, bool]:
    """Return the level of an alert, and whether it is no mistake: a heartbeat needs no known level."""
    policy = accepting.policy
    level, is_known = policy.severity.of(alert.labels)
    if not is_known and policy.watched.heartbeats and alert.about is None:
        found = policy.match(alert.labels, alert.identity).heartbeats
        is_known = first_of(found, accepting.source) is not None
    return level, is_known


def _heartbeats(accepting: Accepting) -> frozenset[str]:
    """Return the names of the heartbeats that a webhook reports as firing. An end is no sign of life of the alert."""
    policy = accepting.policy
    if not policy.watched.heartbeats:
        return frozenset()
    return frozenset(
        heartbeat.name
        for alert in accepting.webhook.alerts
        if alert.status is Status.FIRING and alert.about is None
        for heartbeat in policy.match(alert.labels, alert.identity).heartbeats
        if heartbeat.is_from(accepting.source)
    )


def _apply_change(accepting: Accepting, accepted: AcceptedAlert, decisions: tuple[Decision, ...]) -> set[str]:
    """Add the change that an alert makes, and apply it at its destinations. Return their keys."""
    state, subject = accepting.state, accepted.subject
    number = state.new_id()
    if accepted.alert.status is Status.FIRING:
        firing = FiringTransition(
            state, accepting.policy, subject, accepting.now, deciding=accepting.deciding
        )
        firing.fire(_without_repeats(decisions) if accepted.peer_duplicate else decisions, number)
        named = {decision.destination.key for decision in decisions}
        fated = max(1, len(decisions))
    else:
        ending = EndTransition(
            state, accepting.policy, subject, accepting.now, accepting.note, doubt=accepted.doubt,
            deciding=accepting.deciding,
        )  # fmt: skip
        named = ending.resolve(decisions, number)
        accepting.ended_in.update(ending.ended_in)
        fated = len(named)
    state.changes.put(
        ChangeRow(
            number, accepting.arrival, subject.alert, str(accepted.kind), subject.level, accepting.now, fated,
            subject.tenant,
        )
    )  # fmt: skip
    state.alerts.put(state.alerts[subject.alert]._replace(last_change_id=number))
    return named


def _without_repeats(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    return tuple(replace(decision, repeat=None) for decision in decisions)
