"""The log line of an accepted webhook."""

import time
from typing import Any

from router.decide.tenants import Tenants
from router.log_fields import alert_names, group_text, tenant_fields
from router.model import Status, Webhook


def accepted_fields(
    webhook: Webhook, source: str, number: int, started: float, tenants: Tenants
) -> dict[str, Any]:
    """Return the fields of the line. The log calls it only for lines that it writes.

    :param source: the name of the source that posted it
    :param number: its id in the store
    :param started: when its request began (seconds of ``time.perf_counter``)
    """
    firing = sum(alert.status is Status.FIRING for alert in webhook.alerts)
    return {
        "status": "accepted",
        **tenant_fields(source, (alert.labels for alert in webhook.alerts), tenants),
        "durationMs": milliseconds_since(started),
        "alertname": alert_names(alert.labels for alert in webhook.alerts),
        "group": group_text(webhook.group_labels),
        "receiver": webhook.receiver,
        "firing": firing,
        "resolved": len(webhook.alerts) - firing,
        "webhook": number,
        "peer": webhook.sender,
    }


def milliseconds_since(started: float) -> float:
    """Return the time since a moment of ``time.perf_counter``, in milliseconds."""
    return round((time.perf_counter() - started) * 1_000, 1)
