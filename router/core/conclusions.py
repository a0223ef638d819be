"""Conclusions: alerts that fire or have ended although no webhook says so. They are accepted like reports of a sender."""

import json
from dataclasses import replace
from functools import partial

from router.core.accept import Receipt, accept_webhook, merged, want_accepted
from router.core.alerts import alert_of
from router.core.rows import AlertRow
from router.core.state import State
from router.decide import Policy
from router.model import Alert, Millis, Status, Webhook

GONE = "gone from Alertmanager"
STALE = "no longer repeated"
LAPSED = "its endsAt has passed"
BACK = "firing in Alertmanager"
LASTING = "no other end was reported"

ALERTS_PER_BATCH = 100
"""How many alerts one batch examines. Webhooks wait for the batch."""


def end_alerts(state: State, ended: list[AlertRow], note: str, policy: Policy, now: Millis) -> Receipt:
    """End alerts, at the time when they were last present, last reported, or due to end by their sender."""
    found = []
    for row in ended:
        last = row.fires_until if note == LAPSED else row.absent_at or row.seen_at
        alert = replace(alert_of(row), status=Status.RESOLVED, ends_at=last, fires_until=None)
        found.append((row.source, row.group_id, alert))
    return accept_concluded(state, found, note, note, policy, now)


def accept_concluded(
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
