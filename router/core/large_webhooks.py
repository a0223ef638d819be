"""Webhooks that are kept whole and decided later. A large one is decided in pieces, each piece in a batch of its own. A small
one is kept by a replica that does not agree with the rules in force; it is decided at once, by one that does.
"""

from dataclasses import replace

from router.core.accept import Receipt, decide_all, decide_whole
from router.core.conversations import change, close_empty
from router.core.groups import complete_group, put_group
from router.core.head import RefusedJob
from router.core.reported_alerts import Accepting
from router.core.rows import WebhookRow
from router.core.state import State
from router.core.undecided_count import (
    MAX_UNDECIDED_ALERTS,
    SMALL_WEBHOOK,
    count_decided,
    count_kept,
    want_undecided_count,
)
from router.decide import Policy
from router.model import Alert, Millis, Status, Webhook
from router.packed import unpack


class NotItsTurn(RefusedJob):
    """A webhook that came before is not decided yet."""


def want_kept(state: State, webhook: Webhook, source: str) -> None:
    """Request the rows that :func:`keep_webhook` needs."""
    want_undecided_count(state)
    if len(webhook.alerts) > SMALL_WEBHOOK:
        state.groups.want("key", ((source, webhook.receiver, webhook.group_key),))


def keep_webhook(
    state: State,
    webhook: Webhook,
    source: str,
    body: bytes,
    now: Millis,
    bound: int = MAX_UNDECIDED_ALERTS,
) -> int:
    """Keep a webhook whose alerts are decided later. Return its number in the order of arrival.

    :param bound: how many alerts may wait
    :raises TooManyUndecided: others wait already, and it would exceed the bound
    """
    alerts = len(webhook.alerts)
    count_kept(state, alerts, bound)
    arrival = state.new_id()
    state.webhooks.put(WebhookRow(arrival, source, now, body, None, None, alerts, webhook.sender))
    if alerts > SMALL_WEBHOOK:  # a later webhook of the group may come before its alerts are decided
        put_group(state, webhook, source)
    return arrival


def decide_kept(
    state: State,
    arrival: int,
    webhook: Webhook,
    source: str,
    policy: Policy,
    now: Millis,
    after: int | None = None,
) -> Receipt | None:
    """Decide a whole kept webhook, as if it arrived now. Return None if it is decided already.

    :param arrival: its number
    :param after: the number of the webhook that has to be decided before; None: this one is the oldest
    :raises NotItsTurn: that one is not decided yet, for example because its batch has failed
    """
    before = None if after is None else state.webhooks.get(after)
    if before is not None and before.undecided is not None:
        raise NotItsTurn
    row = state.webhooks.get(arrival)
    if row is None or row.undecided is None:
        return None
    receipt = decide_whole(
        Accepting(state, source, webhook, put_group(state, webhook, source), arrival, policy, now)
    )
    count_decided(state, row.undecided)
    state.webhooks.put(row._replace(undecided=None, sender=""))
    return receipt


def accept_some(
    state: State, arrival: int, webhook: Webhook, source: str, policy: Policy, now: Millis
) -> Receipt:
    """Decide some alerts of a kept webhook. Conversations of its group wait for the webhook's last piece. Alerts that
    are decided already are left out, so running it twice does no harm.

    :param webhook: with these alerts only
    """
    state.alerts.want("identity", ((source, alert.identity) for alert in webhook.alerts))
    if not state.head.is_alone:
        state.webhooks.want("id", (arrival,))
    state.ready()
    if not state.head.is_alone and state.webhooks[arrival].undecided is None:
        return Receipt()  # another replica has taken over, and has decided all of it
    left = tuple(
        alert
        for alert in webhook.alerts
        if (row := state.alerts.one("identity", (source, alert.identity))) is None or row.arrival != arrival
    )
    some = replace(webhook, alerts=left)
    accepting = Accepting(
        state, source, some, _group_of(state, webhook, source), arrival, policy, now, deciding=arrival
    )
    receipt = decide_all(accepting)
    close_empty(state, (id_ for id_ in accepting.ended_in if state.conversations[id_].deciding is None))
    return receipt


def accept_end(
    state: State, arrival: int, webhook: Webhook, source: str, policy: Policy, now: Millis
) -> frozenset[str]:
    """Finish a webhook whose alerts are all decided. Return the keys of destinations that may have something to send."""
    state.webhooks.want("id", (arrival,))
    want_undecided_count(state)
    state.groups.want("key", ((source, webhook.receiver, webhook.group_key),))
    state.conversations.want("deciding", (arrival,))
    state.ready()
    kept = state.webhooks[arrival]
    if kept.undecided is None:
        return frozenset()
    group = state.groups[_group_of(state, webhook, source)]
    if group.truncated == 0:
        state.conversations.want("open of group", (group.id,))
        state.ready()
    waited = [row.id for row in state.conversations.of("deciding", arrival)]
    woken = complete_group(state, group.id, policy, now) if group.truncated == 0 else set()
    woken |= release_waiting(state, arrival)
    close_empty(state, waited)
    count_decided(state, kept.undecided)
    state.webhooks.put(kept._replace(undecided=None, sender=""))
    return frozenset(woken)


def release_waiting(state: State, arrival: int) -> set[str]:
    """Release the conversations that waited for a webhook. Return the keys of their destinations."""
    waiting = state.conversations.of("deciding", arrival)
    for row in waiting:
        change(state, row, deciding=None)
    return {row.destination for row in waiting}


def quarantine_undecided(state: State, arrival: int, reason: str, body: bytes | None = None) -> set[str]:
    """Quarantine a webhook whose alerts cannot be decided. The alerts that were decided stay so, and are sent.

    :param body: as it was received; None: it is stored without a learned dictionary
    """
    row = state.webhooks[arrival]
    if row.undecided is None:
        return set()
    if body is None:
        body = unpack(row.body)  # a quarantined body is kept as it came
    count_decided(state, row.undecided)
    state.webhooks.put(row._replace(undecided=None, sender="", quarantined=reason, body=body))
    return release_waiting(state, arrival)


def in_order(webhook: Webhook, policy: Policy) -> list[Alert]:
    """Return the alerts of a webhook in the order in which they are decided, the most urgent first.

    Firing inhibitors come before the alerts that they can mute. Ends come after all firing alerts, and ends of
    inhibitors come last: so no alert is released that another alert of the webhook still mutes, or that has ended as
    well.
    """

    def order(alert: Alert) -> tuple[bool, bool, int]:
        ended = alert.status is not Status.FIRING
        matched = policy.match(alert.labels, alert.identity, own=alert.about is not None)
        return ended, bool(matched.mutes) is ended, policy.severity.rank(matched.level)

    return sorted(webhook.alerts, key=order)


def _group_of(state: State, webhook: Webhook, source: str) -> int:
    """Return the id of the webhook's group; a later webhook may have changed the group."""
    row = state.groups.one("key", (source, webhook.receiver, webhook.group_key))
    return put_group(state, webhook, source) if row is None else row.id
