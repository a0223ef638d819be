"""Draws a PagerDuty incident: the fields that the responder sees, and the events as they were sent."""

from markupsafe import Markup

from router.channels.drawing import SentMessage, badge, details, joined, links, pretty_json, tag

_SHOWN_KEY_CHARS = 12


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
            parts.append(details("Details", pretty_json(payload["custom_details"])))
    parts.append(details(f"Events as sent ({len(events)})", pretty_json(events), is_raw=True))
    return joined(parts)
