"""Draws a PagerDuty incident: the fields that the responder sees, and the events as they were sent."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, badge, details, joined, links, pretty_json, tag

_SHOWN_KEY_CHARS = 12


def _drawn_details(custom_details: Mapping[str, Any]) -> list[Markup]:
    texts = {name: text for name, text in custom_details.items() if isinstance(text, str)}
    rest = {name: value for name, value in custom_details.items() if name not in texts}
    rows = [tag("p", tag("strong", name), ": ", text, class_="text") for name, text in texts.items()]
    return [*rows, details("Details for programs", pretty_json(rest), is_raw=True)] if rest else rows


def draw(message: SentMessage) -> Markup:
    body = message.body
    events = [each.body for each in (*message.earlier, message)]
    payload_event = next((event for event in reversed(events) if event.get("payload")), body)
    payload = payload_event.get("payload") or {}
    state = "resolved" if body["event_action"] == "resolve" else "triggered"
    parts = [tag("h3", badge(state, state), payload.get("summary", "resolved"))]
    if payload:
        key = body["dedup_key"][:_SHOWN_KEY_CHARS]
        about = f"severity {payload['severity']} · source {payload['source']} · dedup key {key}…"
        parts.append(tag("p", about, class_="meta"))
        if payload_event.get("links"):
            parts.append(links((each["text"], each["href"]) for each in payload_event["links"]))
        if payload.get("custom_details"):
            parts += _drawn_details(payload["custom_details"])
    parts.append(details(f"Events as sent ({len(events)})", pretty_json(events), is_raw=True))
    return joined(parts)
