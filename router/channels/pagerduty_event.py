"""Builds events for PagerDuty's Events API v2 within its limits, and a plain event in case PagerDuty refuses the first.

https://developer.pagerduty.com/docs/send-alert-event
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from router.model import SECOND, Conversation, Millis, ShownAlert, Status
from router.render import TemplateError, Templates
from router.render.words import clip, line

_MAX_EVENT_SUMMARY_CHARS = 1_024
_MAX_DEDUP_KEY_CHARS = 255
# PagerDuty documents no limit for the other fields. These keep long labels from filling the event.
_MAX_FIELD_CHARS = 1_024
_MAX_ADDRESS_CHARS = 8_192
# https://developer.pagerduty.com/docs/events-api-v2-overview: "The maximum size of an event is 512 KB". The
# rest is for the routing key and the names that the SDK adds.
_MAX_EVENT_BYTES = 512 * 1_024 - 4_096
_DEFAULT_SUMMARY = "Unnamed alert"  # PagerDuty refuses an empty one
_SEVERITIES = ("critical", "error", "warning", "info")
_COMPONENT_LABELS = ("component", "service", "app", "job")
_SOURCE_LABELS = ("instance", "host", "node", "pod", "service", "job", "cluster")


def render_event(conversation: Conversation, templates: Templates) -> tuple[dict[str, Any], bool]:
    """Return the event that brings an incident up to date, and whether its summary is the fallback.

    An event that is too large is sent without the details of its alerts.
    """
    # Every later event needs the key that opened the incident.
    dedup_key = str(conversation.remote.get("dedup_key", conversation.token))[:_MAX_DEDUP_KEY_CHARS]
    if conversation.over:
        return {"event_action": "resolve", "dedup_key": dedup_key}, False
    values = templates.values(conversation)
    summary, fallback = _summary(templates, values)
    payload = _payload(conversation, values, summary, templates.levels)
    links = {name: address for name, address in values["links"] if len(address) <= _MAX_ADDRESS_CHARS}
    client_url = values["external_url"] if len(values["external_url"]) <= _MAX_ADDRESS_CHARS else ""
    left_out = [name for name, _ in values["links"] if name not in links]
    if left_out := left_out + ["Alertmanager"] * (client_url != values["external_url"]):
        payload["custom_details"]["links_left_out"] = left_out
    body = {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": payload,
        "links": [{"href": address, "text": name} for name, address in links.items()],
        "client": "alert-router",
        "client_url": client_url,
    }
    if len(json.dumps(body)) > _MAX_EVENT_BYTES:
        why = "details left out: too large"
        rest = {k: v for k, v in payload["custom_details"].items() if k not in {"firing", "resolved"}}
        payload |= {
            "summary": _with_note(payload["summary"], why),
            "custom_details": {"note": why, **rest},
        }
    return body, fallback


def plain_event(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event without the parts that PagerDuty might refuse, so that a person is paged."""
    payload = body["payload"]
    counts = payload["custom_details"]["counts"]
    alerts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    summary = _with_note(payload["summary"], f"{alerts}; details left out: refused by PagerDuty")
    return {
        "event_action": body["event_action"],
        "dedup_key": body["dedup_key"],
        "payload": {"summary": summary, "source": payload["source"], "severity": payload["severity"]},
    }


def _summary(templates: Templates, values: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the summary, and whether it is the fallback for a template that fails."""
    try:
        return line(templates.render("pagerduty.j2", "summary", values)), False
    except TemplateError:
        scope = f" ({values['scope']})" if values["scope"] else ""
        return values["title"] + scope, True


def _payload(
    conversation: Conversation, values: Mapping[str, Any], summary: str, levels: tuple[str, ...]
) -> dict[str, Any]:
    labels = values["common_labels"]
    resolved = [each for each in conversation.listed if each.alert.status is Status.RESOLVED]
    unlisted = conversation.ended - len(resolved)
    started = [each.alert.starts_at for each in conversation.firing if each.alert.starts_at is not None]
    source, component = (
        next((labels[name] for name in names if labels.get(name)), "")
        for names in (_SOURCE_LABELS, _COMPONENT_LABELS)
    )
    payload = {
        "summary": clip(summary, _MAX_EVENT_SUMMARY_CHARS) or _DEFAULT_SUMMARY,
        "source": clip(source or values["scope"] or values["title"], _MAX_FIELD_CHARS) or _DEFAULT_SUMMARY,
        "severity": _severity(values["rank"], values["level"], len(levels)),
        "timestamp": _rfc3339(min(started)) if started else None,
        "component": clip(component, _MAX_FIELD_CHARS),
        "group": clip(values["scope"], _MAX_FIELD_CHARS),
        "class": clip(labels.get("alertname", ""), _MAX_FIELD_CHARS),
        "custom_details": {
            "firing": [_details(each) for each in conversation.firing],
            "resolved": [_details(each) for each in resolved],
            "counts": {"firing": len(conversation.firing), "resolved": conversation.ended},
            **({"resolved_not_listed": unlisted} if unlisted else {}),
            **({"not_shown_by_alertmanager": conversation.truncated} if conversation.truncated else {}),
        },
    }
    return {name: value for name, value in payload.items() if value}


def _details(shown: ShownAlert) -> dict[str, Any]:
    alert = shown.alert
    details: dict[str, Any] = {"labels": dict(alert.labels), "annotations": dict(alert.annotations)}
    if alert.starts_at is not None:
        details["since"] = _rfc3339(alert.starts_at)
    if alert.note and alert.status is Status.RESOLVED:
        details["note"] = alert.note
    return details


def _severity(rank: int, level: str, levels: int) -> str:
    """Return the level if PagerDuty has a severity of that name; else the severity at the same position in its list."""
    if level in _SEVERITIES:
        return level
    return _SEVERITIES[min(3, round(rank * 3 / max(1, levels - 1)))]


def _rfc3339(at: Millis) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds")


def _with_note(summary: str, note: str) -> str:
    return f"{clip(summary, _MAX_EVENT_SUMMARY_CHARS - len(note) - 3)} ({note})"
