"""Accepting a webhook: its alerts become changes, decisions and fates, all of them or none."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from router.core.alerts import (
    about_of,
    doubt_of,
    known_of,
    labels_of,
    written_about,
    written_annotations,
    written_doubt,
)
from router.core.conversations import DATABASE_ID, ONE_ENDED, close_empty, has_nothing_to_say, put_member
from router.core.judging import judge, want_judged, want_rejudged
from router.core.members import Transitions
from router.core.reduce import PEER_LAG, Doubt, reduce_alert
from router.core.release import muted_by, release_muted, want_released
from router.core.rows import (
    RESOLVED,
    UNKNOWN,
    AlertRow,
    ChangeRow,
    GroupRow,
    InhibitorRow,
    WebhookRow,
)
from router.core.state import MissingRows, State
from router.core.subjects import Subject, want_memberships
from router.core.unsent_ends import sends_ends
from router.decide import Policy
from router.model import Alert, Change, Decision, DecisionKind, Destination, Millis, Status, Webhook


@dataclass(frozen=True, slots=True)
class Receipt:
    """What accepting a webhook committed."""

    changes: tuple[tuple[Change, str, bool], ...] = ()
    """(kind, level, whether the severity label of the alert named a known level), one for each change"""
    decisions: tuple[tuple[str, DecisionKind], ...] = ()
    """(destination key, kind of decision)"""
    wake: frozenset[str] = frozenset()
    """The keys of destinations that may have something to send."""
    unreleased: bool = False
    """Many alerts are no longer muted; they are judged in pieces, see :func:`router.core.release.release_some`."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    subject: Subject
    alert: Alert
    kind: Change
    peer_duplicate: bool
    """Another peer of an HA pair reports the same some time later: it is not sent as a repeat."""
    doubt: bool
    """The sender reports it as firing; it counts as ended until the doubt is settled."""


def want_accepted(
    state: State, webhook: Webhook, source: str, policy: Policy, now: Millis, *, whole: bool = True
) -> None:
    """Load the rows that :func:`accept_webhook` needs, in rounds.

    :param whole: the webhook has all its alerts, not only a piece
    :raises MissingRows: rows are not loaded yet
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
    ending = [
        known[alert.identity]
        for alert in webhook.alerts
        if alert.status is Status.RESOLVED and alert.identity in known
    ]
    if ending:
        _want_ended(state, policy, ending, {member.conversation_id for member in members}, now)


def _want_ended(
    state: State, policy: Policy, ending: list[int], conversations: set[int], now: Millis
) -> None:
    """Load the rows that the ends of these alerts need: the alerts that they muted, and conversations that may close."""
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
    want_rejudged(state, policy, muted_by(state, keys), now)


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
    accepting = Accepting(state, source, webhook, group, arrival, policy, now, note, certain=certain)
    receipt = decide_all(accepting)
    woken = complete(state, group, policy, now) if webhook.truncated == 0 else set()
    close_empty(state, accepting.ended_in)
    return replace(receipt, wake=receipt.wake | woken)


def decide_all(accepting: "Accepting") -> Receipt:
    """Reduce and judge the alerts of a webhook, and apply the decisions."""
    state, policy, now, note = accepting.state, accepting.policy, accepting.now, accepting.note
    accepted = [_reduce(accepting, alert) for alert in accepting.webhook.alerts]
    judged = [
        judge(state, policy, each.alert.labels, each.alert.about, now, each.subject.identity)
        for each in accepted
    ]
    decisions: list[tuple[str, DecisionKind]] = []
    wake: set[str] = set()
    for each, decided in zip(accepted, judged, strict=True):
        firing = each.alert.status is Status.FIRING
        number = state.new_id()
        transitions = Transitions(
            state, policy, each.subject, now, note, doubt=each.doubt, deciding=accepting.deciding
        )
        if firing:
            fated = max(1, len(decided))
            transitions.fire(_without_repeats(decided) if each.peer_duplicate else decided, number)
            for decision in decided:
                decisions.append((decision.destination.key, decision.kind))
                wake.add(decision.destination.key)
        else:
            named = transitions.resolve(decided, number)
            fated = len(named)
            accepting.ended_in.update(transitions.ended_in)
            wake |= named
        state.changes.put(
            ChangeRow(
                number, accepting.arrival, each.subject.alert, str(each.kind), each.subject.level, now, fated
            )
        )
        row = state.alerts[each.subject.alert]
        state.alerts.put(row._replace(last_change_id=number))
    woken, unreleased = release_muted(state, policy, accepting.freed, now)
    wake |= woken
    kinds = tuple((each.kind, *policy.severity.of(each.alert.labels)) for each in accepted)
    return Receipt(kinds, tuple(decisions), frozenset(wake), unreleased)


def complete(state: State, group: int, policy: Policy, now: Millis) -> set[str]:
    """Apply that Alertmanager shows the whole group: a conversation that only hidden alerts kept open is over.

    Its end is sent, also after an end was given up. Where no message is sent for ends, or the destination is gone, it
    closes. Return the keys of the
    destinations to wake.
    """
    over = [
        row for row in state.conversations.of("open of group", group) if row.ended and has_nothing_to_say(row)
    ]
    kept_open = [
        row
        for row in over
        # A destination that the rules no longer name and that the store does not keep has no lane.
        if (policy.names(row.destination) or state.destinations.get(row.destination) is not None)
        and sends_ends(state, policy, row.destination)
    ]
    close_empty(state, {row.id for row in over} - {row.id for row in kept_open})
    state.members.want("conversation", (row.id for row in kept_open if not row.is_large))
    for row in kept_open:
        if row.is_large:
            state.want_answer(ONE_ENDED, row.id)
    state.ready()
    large = {row.id: state.ask(ONE_ENDED, row.id) for row in kept_open if row.is_large}
    state.members.want("id", (each for several in large.values() for each in several))
    state.ready()
    woken: set[str] = set()
    for row in kept_open:
        # The message shows that all have ended, so one due member is enough to send it.
        some = [state.members[each] for each in large[row.id]] if row.id in large else None
        for member in state.members.of("conversation", row.id) if some is None else some:
            if member.notified == RESOLVED:
                put_member(state, member._replace(notified=UNKNOWN, at=now), member)
        woken.add(row.destination)
    return woken


def index_inhibitor(state: State, policy: Policy, alert: AlertRow) -> None:
    """Index the keys that a firing alert inhibits. A self-alert mutes no alerts: no rule is meant for it."""
    if about_of(alert) is not None or not policy.inhibition.rules:
        return
    for key in policy.match(labels_of(alert), alert.identity).mutes:
        state.inhibitors.put(InhibitorRow(key.text, alert.id, int(key.two_sided)))


def put_group(state: State, webhook: Webhook, source: str) -> int:
    """Save the group as the webhook shows it. Return its id."""
    labels = json.dumps(dict(webhook.group_labels))
    row = state.groups.one("key", (source, webhook.receiver, webhook.group_key))
    number = state.new_id() if row is None else row.id
    state.groups.put(
        GroupRow(
            number, source, webhook.receiver, webhook.group_key, labels, webhook.external_url,
            webhook.truncated,
        )
    )  # fmt: skip
    return number


@dataclass(frozen=True, slots=True)
class Accepting:
    """A webhook, or a piece of one, while its alerts are decided."""

    state: State
    source: str
    webhook: Webhook
    group: int
    arrival: int
    policy: Policy
    now: Millis
    note: str = ""
    certain: bool = False
    deciding: int | None = None
    """The id of the webhook, if these are only some of its alerts."""
    freed: set[str] = field(default_factory=set)
    """Collects the inhibition keys of alerts that ended."""
    ended_in: set[int] = field(default_factory=set)
    """Collects the ids of conversations in which alerts ended."""

    @property
    def peer(self) -> str:
        """The Alertmanager peer that reports; empty: the router concluded it."""
        return "" if self.note else f"{self.webhook.external_url} {self.webhook.sender}"


def _without_repeats(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    return tuple(replace(decision, repeat=None) for decision in decisions)


def _reduce(accepting: Accepting, reported: Alert) -> _Accepted:
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
    doubt_until, doubt = _doubt(known.doubt, row, accepting.group)
    number = state.new_id() if row is None else row.id
    after = state.alerts.put(
        AlertRow(
            id=number, source=source, identity=identity, group_id=accepting.group,
            labels=json.dumps(dict(alert.labels)), annotations=written_annotations(alert.annotations),
            links=json.dumps(dict(alert.links)), generator_url=alert.generator_url, status=str(alert.status),
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
    subject = Subject(number, source, identity, level, accepting.group, webhook.receiver, webhook.group_key)
    return _Accepted(subject, alert, kind, peer_duplicate, known.doubt is not None)


def _out_of_date(accepting: Accepting, row: AlertRow, reported: Alert) -> _Accepted:
    """Return an alert that a later webhook has reported already: this report counts as a repeat of what is known."""
    webhook, known = accepting.webhook, known_of(row)
    subject = Subject(
        row.id, row.source, row.identity, row.level, accepting.group, webhook.receiver, webhook.group_key
    )
    alert = replace(known.alert, fingerprint=reported.fingerprint)
    return _Accepted(subject, alert, Change.REPEATED, peer_duplicate=True, doubt=known.doubt is not None)


def _doubt(doubt: Doubt | None, row: AlertRow | None, group: int) -> tuple[Millis | None, str | None]:
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
