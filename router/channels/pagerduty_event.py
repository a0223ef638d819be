"""Builds events for PagerDuty's Events API v2 within its limits, and smaller events in case PagerDuty refuses the first.

https://developer.pagerduty.com/docs/send-alert-event
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from router.channels.pagerduty_details import cut_details, details_of, rfc3339, shortened
from router.model import Conversation
from router.render import TemplateError, Templates
from router.render.view import AlertView
from router.render.words import clip, line

_MAX_EVENT_SUMMARY_CHARS = 1_024
_MAX_DEDUP_KEY_CHARS = 255
# PagerDuty documents no limit for the other fields. These keep long labels from filling the event.
_MAX_FIELD_CHARS = 1_024
_MAX_ADDRESS_BYTES = 8_192
_MAX_OWN_LINKS, _MAX_OWN_ADDRESS_BYTES, _MAX_LINK_CHARS = 20, 2_048, 100
"""Of the links of single alerts: how many an event has, and the size of an address and of its words."""
# https://developer.pagerduty.com/docs/events-api-v2-overview: "The maximum size of an event is 512 KB". The
# rest is for the routing key and the names that the SDK adds.
_MAX_EVENT_BYTES = 512 * 1_024 - 4_096
_MAX_READABLE_BYTES = 16_384
"""What the details get after a refusal, which may come from a proxy with a lower limit."""
_MAX_READABLE_TEXT_CHARS = 1_500
_MAX_READABLE_LINKS, _MAX_READABLE_ADDRESS_BYTES = 6, 1_024
_IN_LIST, _NOT_SHOWN = "are in the list of alerts", "are left out"
_DEFAULT_SUMMARY = "Unnamed alert"  # PagerDuty refuses an empty one
_SEVERITIES = ("critical", "error", "warning", "info")
_COMPONENT_LABELS = ("component", "service", "app", "job")
_SOURCE_LABELS = ("instance", "host", "node", "pod", "service", "job", "cluster")


def render_event(conversation: Conversation, templates: Templates) -> tuple[dict[str, Any], bool]:
    """Return the event that brings an incident up to date, and whether its summary is the fallback.

    The details get the room that the rest of the event leaves, see :mod:`router.channels.pagerduty_details`.
    """
    # Every later event needs the key that opened the incident.
    dedup_key = str(conversation.remote.get("dedup_key", conversation.token))[:_MAX_DEDUP_KEY_CHARS]
    if conversation.over:
        return {"event_action": "resolve", "dedup_key": dedup_key}, False
    values = templates.values(conversation)
    summary, fallback = _summary(templates, values)
    payload = _payload(conversation, values, summary, templates.levels)
    links, too_long, hidden = _links(values)
    body = {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": payload,
        "links": links,
        "client": "alert-router",
        "client_url": values["external_url"] if _size(values["external_url"]) <= _MAX_ADDRESS_BYTES else "",
    }
    numbers = {"counts": _counts(conversation)}
    longest = _about_links(too_long, hidden, in_list=True)
    room = _MAX_EVENT_BYTES - _size(body) - _size(longest) - _size(numbers)
    details, in_list = details_of(conversation, values, room)
    texts = _about_links(too_long, hidden, in_list=in_list)
    alerts = {"alerts": details.pop("alerts")} if "alerts" in details else {}
    payload["custom_details"] = {**details, **texts, **numbers, **alerts}
    return body, fallback


def smaller_events(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is sent, one after the other, if PagerDuty refuses an event, so that a person is paged.

    The first one has no links, and of the details the texts. The last one has only what PagerDuty requires.
    """
    payload, details = body["payload"], body["payload"]["custom_details"]
    event = {"event_action": body["event_action"], "dedup_key": body["dedup_key"]}
    required = {name: payload[name] for name in ("summary", "source", "severity")}
    about_links = details.get("links", "").replace(_IN_LIST, _NOT_SHOWN)  # this event has no list of alerts
    links = "\n".join(filter(None, [_links_as_text(body["links"]), about_links]))
    short = {
        name: text if name in {"firing", "resolved"} else shortened(str(text), _MAX_READABLE_TEXT_CHARS)
        for name, text in details.items()
        if name not in {"counts", "alerts"}
    }
    texts = {"status": "", "links": "", **short, "alerts": details.get("alerts", ())}
    texts["links"] = links
    readable = cut_details(texts, _MAX_READABLE_BYTES, "PagerDuty refused the event with all details")
    summary = _with_note(
        payload["summary"], f"{details.get('status', '')}; details left out: refused by PagerDuty"
    )
    return [
        {**event, "payload": {**required, "custom_details": readable}},
        {**event, "payload": {**required, "summary": summary}},
    ]


def _counts(conversation: Conversation) -> dict[str, int]:
    """Return numbers for programs, such as rules of PagerDuty's event orchestration."""
    counts = {"firing": len(conversation.firing), "resolved": conversation.ended}
    return {
        **counts,
        **({"not_shown_by_alertmanager": conversation.truncated} if conversation.truncated else {}),
    }


def _links_as_text(links: Sequence[Mapping[str, str]]) -> str:
    shown = [each for each in links if _size(each["href"]) <= _MAX_READABLE_ADDRESS_BYTES][
        :_MAX_READABLE_LINKS
    ]
    rows = [f"{each['text']}: {each['href']}" for each in shown]
    return "\n".join(
        [*rows, *([f"{len(links) - len(shown)} more left out"] if len(links) > len(shown) else [])]
    )


def _size(value: Any) -> int:
    return len(json.dumps(value))


def _about_links(too_long: Sequence[str], hidden: int, *, in_list: bool) -> dict[str, str]:
    """Return the detail about links that the event leaves out; an empty mapping if there is none.

    :param too_long: the names of the message's links that are too long
    :param hidden: how many links of single alerts there are besides those that the event has
    :param in_list: the list of alerts has the links of single alerts
    """
    about = [f"too long to show: {', '.join(too_long)}"] if too_long else []
    if hidden:
        about.append(f"{hidden} more links of single alerts {_IN_LIST if in_list else _NOT_SHOWN}")
    return {"links": "; ".join(about)} if about else {}


def _links(values: Mapping[str, Any]) -> tuple[list[dict[str, str]], list[str], int]:
    """Return the links of the message and of single alerts, and what is left out.

    That is: the names of the message's links that are too long, and the number of links of single alerts.
    """
    message_links = {address: name for name, address in values["links"]}
    links = {address: name for address, name in message_links.items() if _size(address) <= _MAX_ADDRESS_BYTES}
    too_long = [name for address, name in message_links.items() if address not in links]
    too_long += ["Alertmanager"] * (_size(values["external_url"]) > _MAX_ADDRESS_BYTES)
    alerts: Sequence[AlertView] = values["alerts"]
    own: dict[str, str] = {}
    for alert in alerts:  # the most urgent alert names an address
        for name, address in alert.own_links:
            if address not in message_links:
                own.setdefault(address, clip(f"{name}: {alert.brief}", _MAX_LINK_CHARS))
    fitting = [address for address in own if _size(address) <= _MAX_OWN_ADDRESS_BYTES][:_MAX_OWN_LINKS]
    links |= {address: own[address] for address in fitting}
    shown = [{"href": address, "text": name} for address, name in links.items()]
    return shown, too_long, len(own) - len(fitting)


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
    started = [each.alert.starts_at for each in conversation.firing if each.alert.starts_at is not None]
    source, component = (
        next((labels[name] for name in names if labels.get(name)), "")
        for names in (_SOURCE_LABELS, _COMPONENT_LABELS)
    )
    payload = {
        "summary": clip(summary, _MAX_EVENT_SUMMARY_CHARS) or _DEFAULT_SUMMARY,
        "source": clip(source or values["scope"] or values["title"], _MAX_FIELD_CHARS) or _DEFAULT_SUMMARY,
        "severity": _severity(values["rank"], values["level"], len(levels)),
        "timestamp": rfc3339(min(started)) if started else None,
        "component": clip(component, _MAX_FIELD_CHARS),
        "group": clip(values["scope"], _MAX_FIELD_CHARS),
        "class": clip(labels.get("alertname", ""), _MAX_FIELD_CHARS),
    }
    return {name: value for name, value in payload.items() if value}


def _severity(rank: int, level: str, levels: int) -> str:
    """Return the level if PagerDuty has a severity of that name; else the severity at the same position in its list."""
    if level in _SEVERITIES:
        return level
    return _SEVERITIES[min(3, round(rank * 3 / max(1, levels - 1)))]


def _with_note(summary: str, note: str) -> str:
    return f"{clip(summary, _MAX_EVENT_SUMMARY_CHARS - len(note) - 3)} ({note})"
