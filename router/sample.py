"""A realistic incident for the preview, posted as Alertmanager would post it."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from router.clock import Clock
from router.model import MINUTE, SECOND, Labels, Millis
from router.parse import fingerprint

_ALERTMANAGER = "https://alertmanager.example"


def friday_night(now: Millis, timezone: str) -> Millis:
    """Return the last Friday at 22:41 in the time zone (epoch ms): outside business hours, before a long night."""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(now / SECOND, zone)
    day = local.date() - timedelta(days=(local.weekday() - 4) % 7)
    at = datetime(day.year, day.month, day.day, 22, 41, tzinfo=zone)
    return int(at.timestamp()) * SECOND - (7 * 24 * 60 * MINUTE if at > local else 0)


async def play(url: str, clock: Clock, report: Callable[[str], None]) -> None:
    """Post the incident to the webhook of a router.

    :param report: gets a line for each webhook
    :raises aiohttp.ClientError: the router can't be reached
    """
    async with aiohttp.ClientSession() as session:
        for title, body in incident(clock.now()):
            async with session.post(url, json=body) as answer:
                report(f"  {title} -> {answer.status}")
            await asyncio.sleep(0.3)  # so that the page can be watched as it fills


def incident(now: Millis) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the webhooks of the incident with a title each. :param now: when it is reported (epoch ms)"""
    errors = {"alertname": "HighErrorRate", "cluster": "eu-1", "service": "checkout"}
    critical = [
        _alert(
            {**errors, "instance": f"checkout-{number}", "severity": "critical"},
            now - number * MINUTE,
            _CHECKOUT,
        )
        for number in (2, 1)
    ]
    yield "critical: HighErrorRate on two checkout instances", _webhook(errors, critical)

    inhibited = {**errors, "severity": "warning", "instance": "checkout-2"}
    notes = {"summary": "Over 1 % of checkout requests fail"}
    yield (
        "warning: HighErrorRate, which the critical inhibits",
        _webhook({**errors, "severity": "warning"}, [_alert(inhibited, now - 3 * MINUTE, notes)]),
    )

    disk = {"alertname": "DiskWillFillIn4Days", "cluster": "eu-1"}
    yield "warning: DiskWillFillIn4Days, outside business hours", _webhook(
        disk, [_alert({**disk, "instance": "db-3", "mountpoint": "/var/lib/postgresql", "severity": "warning"},
                      now - 20 * MINUTE, _DISK)]
    )  # fmt: skip

    certificate = {"alertname": "CertificateExpiresIn21Days", "host": "shop.example.com", "severity": "info"}
    backup = {"alertname": "BackupSlow", "cluster": "eu-1", "instance": "db-1", "severity": "info"}
    for labels, text in (
        (certificate, "The certificate of shop.example.com expires on 12 December"),
        (backup, "The nightly backup of db-1 took 3 h 10 min"),
    ):
        yield (
            f"info: {labels['alertname']}",
            _webhook(
                {"alertname": labels["alertname"]}, [_alert(labels, now - 60 * MINUTE, {"summary": text})]
            ),
        )

    down = {"alertname": "TargetDown", "cluster": "eu-1", "job": "payments"}
    target = {**down, "instance": "payments-1:9100", "severity": "critical"}
    yield "critical: TargetDown for payments", _webhook(down, [_alert(target, now - 2 * MINUTE, _PAYMENTS)])

    third = _alert({**errors, "instance": "checkout-3", "severity": "critical"}, now, _CHECKOUT)
    yield "critical: HighErrorRate spreads to a third instance", _webhook(errors, [*critical, third])

    yield (
        "resolved: TargetDown for payments",
        _webhook(down, [_alert(target, now - 2 * MINUTE, _PAYMENTS, ended=now)]),
    )


_CHECKOUT = {
    "summary": "5 % of checkout requests fail",
    "description": "More than 5 % of the requests to checkout have ended in a 5xx for five minutes.",
    "runbook_url": "https://runbooks.example/HighErrorRate",
    "dashboard_url": "https://grafana.example/d/checkout",
}
_DISK = {
    "summary": "/var/lib/postgresql on db-3 will be full in four days",
    "description": "At the growth of the last six hours, the disk is full on Tuesday.",
    "runbook_url": "https://runbooks.example/DiskWillFill",
}
_PAYMENTS = {
    "summary": "payments-1 can't be scraped",
    "runbook_url": "https://runbooks.example/TargetDown",
}


def _alert(
    labels: Labels, started: Millis, annotations: Labels, ended: Millis | None = None
) -> dict[str, Any]:
    return {
        "status": "firing" if ended is None else "resolved",
        "labels": labels,
        "annotations": annotations,
        "startsAt": _rfc3339(started),
        "endsAt": "0001-01-01T00:00:00Z" if ended is None else _rfc3339(ended),
        "generatorURL": f"https://prometheus.example/graph?g0.expr={labels['alertname']}",
        "fingerprint": fingerprint(labels),
    }


def _webhook(group: Labels, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(group.items()))
    firing = any(alert["status"] == "firing" for alert in alerts)
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{labels}}}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "alert-router",
        "groupLabels": group,
        "commonLabels": group,
        "commonAnnotations": {},
        "externalURL": _ALERTMANAGER,
        "alerts": alerts,
    }


def _rfc3339(at: Millis) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
